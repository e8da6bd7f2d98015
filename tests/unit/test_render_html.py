"""The page: complete, self-contained, and safe whatever a runtime is called."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from bench import frames, store
from bench.analysis import findings as analysis
from bench.errors import BenchError
from bench.model import Finding, Interval
from bench.render import assets, html, palette, pdf
from tests import builders, machines

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=y>$x_{2$"


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def ids(self):
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


def judged(path):
    run = frames.load(path)
    found = analysis.analyse(run)
    store.open_run(path).write_findings(found, analysis.conclusion(found))
    return frames.load(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = builders.make_plan(blocks=2, lacking=builders.typical_lacking)
    return judged(builders.write_run(tmp_path_factory.mktemp("runs"), plan))


@pytest.fixture(scope="module")
def text(run):
    return html.render(run)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_conclusion_and_the_question_come_before_the_matrix(run, text):
    places = [
        text.index(run.plan.suite.question),
        text.index('class="conclusion"'),
        text.index('class="matrix"'),
    ]
    assert places == sorted(places)
    assert run.conclusion


def test_every_cell_of_the_matrix_carries_a_word_and_a_symbol(text):
    matrix = text[text.index('<table class="matrix">') : text.index("</table>")]
    cells = re.findall(r'<td class="cell.*?</td>', matrix, re.S)
    assert len(cells) >= 24 * 4
    for cell in cells:
        assert re.search(
            r'class="sym" aria-hidden="true">\S</span> (pass|fail|not \w+|inconclusive|seen)<', cell
        )


def test_the_control_is_named_as_one(page):
    assert "control, no limits" in page.text


def test_nothing_is_fetched_from_anywhere(text, page):
    assert not page.all("img")
    assert not page.all("iframe")
    assert [a.get("href") for a in page.all("link")] == ["data:,"]
    assert all("src" not in a for a in page.all("script"))
    assert "@import" not in text
    assert not re.search(r"url\((?!#fig-)", text)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_page_forbids_itself_to_fetch(page):
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_ids_are_unique_and_every_link_inside_leads_somewhere(page):
    ids = page.ids()
    assert len(ids) == len(set(ids))
    for attrs in page.all("a") + page.all("use"):
        href = attrs.get("href") or ""
        if href.startswith("#"):
            assert href[1:] in ids, href


def test_every_finding_has_its_reason_in_the_page(run, page):
    shown = " ".join(page.text)
    for finding in run.finding_list:
        assert finding.reason in shown


def test_what_is_missing_comes_with_cause_and_fix(text):
    missing = text[text.index('id="missing"') : text.index('id="method"')]
    assert "the kernel has no scheduler bfq" in missing
    assert "<code>modprobe bfq</code>" in missing
    assert "not offered" in missing


def test_private_facts_stay_in_the_run_directory(run, text):
    assert run.host.private
    for value in run.host.private.values():
        assert str(value) not in text


def test_the_command_to_run_it_again_has_the_seed(text):
    assert "bench run --suite cgroups --runtimes process,cgroup,namespace,docker --seed 1 --blocks 2" in text


def test_every_section_has_a_picture_with_a_name(run, text):
    sections = re.findall(r'<section class="limit".*?</section>', text, re.S)
    assert len(sections) == 8
    for section in sections:
        assert re.search(r'<svg [^>]*role="img" aria-label="[^"]+', section)
        assert section.index("<svg") < section.index("<table")


def test_pictures_are_small_keep_text_as_text_and_follow_the_theme(text):
    pictures = re.findall(r"<svg.*?</svg>", text, re.S)
    assert pictures
    for picture in pictures:
        assert len(picture) < 60_000
        assert "<text" in picture
        assert "var(--ink)" in picture
        assert "<style" not in picture
        assert "<metadata" not in picture
        assert not re.search(r"#01fe\w\w", picture)


def test_two_renderings_of_one_run_are_the_same(run, text):
    assert html.render(run) == text


def test_sort_keys_are_numbers_or_empty(text):
    for key in re.findall(r'<td class="num"[^>]*data-sort="([^"]*)"', text):
        assert key == "" or float(key) == float(key)


def test_images_that_differ_are_flagged_on_the_first_screen(run):
    other = replace(run.records[0], image="sha256:other")
    mixed = html.render(replace(run, records=(other, *run.records[1:])))
    assert mixed.index("runtimes cannot be compared") < mixed.index('class="matrix"')


def test_missing_trials_are_flagged(run):
    assert "3 planned trials have not been run" in html.render(replace(run, records=run.records[3:]))


def test_a_run_without_findings_still_has_a_page(run):
    empty = html.render(replace(run, finding_list=(), conclusion=""))
    assert "There are no findings in this run." in empty


def hostile(finding: Finding) -> Finding:
    return replace(
        finding, runtime=HOSTILE, label=HOSTILE, reason=HOSTILE, fix=HOSTILE, effective_source=HOSTILE,
        evidence={HOSTILE: HOSTILE, **finding.evidence},
    )  # fmt: skip


def test_hostile_names_stay_text(run):
    found = tuple(
        hostile(f) if f.runtime == "docker" else replace(f, reason=HOSTILE, section=f.section)
        for f in run.finding_list
    )
    content = html.render(replace(run, finding_list=found, conclusion=HOSTILE, notes=(HOSTILE,)))
    page = Page(content)
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert "<script>alert" not in content
    assert HOSTILE in page.text
    assert all(not any(name.startswith("on") for name in attrs) for _, attrs in page.tags)


def test_a_hostile_run_still_makes_a_pdf(run):
    few = tuple(
        hostile(f) for f in run.finding_list if f.experiment == "cpu-ceiling" and f.runtime == "docker"
    )
    assert pdf.render(replace(run, finding_list=few)).startswith(b"%PDF-")


def test_a_pdf_has_the_whole_report_and_no_theme_variables_in_its_pictures(run):
    few = tuple(f for f in run.finding_list if f.section in ("pids", "cpuset"))
    content = pdf.render(replace(run, finding_list=few))
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")


def test_a_pdf_fetches_nothing():
    with pytest.raises(BenchError, match="self-contained"):
        pdf._refuse("http://example.invalid/style.css")


def test_an_interval_of_one_trial_is_not_invented(run):
    first = replace(
        run.finding_list[0], measured=Interval(0.5, None, None, 1), deviation=Interval(0, None, None, 1)
    )
    assert html.render(replace(run, finding_list=(first,)))


def test_assets_are_found_in_a_checkout_and_in_a_wheel(tmp_path):
    assert (assets.directory() / "report.css").is_file()
    wheel = tmp_path / "bench"
    (wheel / "data" / "reports").mkdir(parents=True)
    with pytest.raises(BenchError, match="templates"):
        assets.directory(wheel)
    (wheel / "data" / "reports" / "report.html.j2").write_text("")
    assert assets.directory(wheel) == wheel / "data" / "reports"


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    plan = machines.make_plan(only="cpuset", blocks=2)
    return html.render(judged(machines.write_run(tmp_path_factory.mktemp("machines"), plan)))


def test_emulated_runtimes_are_called_so_everywhere_and_the_first_lines_say_what_that_means(emulated):
    text = emulated
    note = "3 runtimes ran in emulated virtual machines (no usable KVM on this host)"
    assert text.count(note) == 1
    assert text.index(note) < text.index('<table class="matrix many">')
    for name in machines.BOOTS:
        bare = re.findall(rf"(?<![\w/-]){name}(?! \(emulated\))(?=[\s<\"])", text)
        # Alone it stands in the command that runs it again, and in the sentence on the emulator's times.
        assert len(bare) <= 2, (name, bare)


def test_machines_have_a_section_with_pictures_before_the_table(emulated):
    text = emulated
    (section,) = re.findall(r'<section class="limit" id="machines">.*?</section>', text, re.S)
    assert section.index("<svg") < section.index("<table")
    for shown in (
        "TCG, emulated",
        "6.1.0-test-cloud-amd64",
        "Ready: libvirt (emulated) after",
        "one boot",
        "As the guest counts",
        "bridge",
    ):
        assert shown in section, shown
    assert "nothing about what virtual machines cost" in section
    page = Page(text)
    assert len(page.ids()) == len(set(page.ids()))


def test_a_run_without_machines_has_no_such_section_and_no_note(text):
    assert 'id="machines"' not in text
    assert "emulated" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S)


def test_a_run_with_working_kvm_says_nothing_of_emulation(tmp_path):
    plan = replace(machines.make_plan(only="cpuset", blocks=2, runtimes=("process", "libvirt")), emulated=())
    text = html.render(judged(machines.write_run(tmp_path, plan, machines.carried("kvm"))))
    assert "(emulated)" not in text
    assert "KVM" in text


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
def test_text_has_enough_contrast_in_both_themes(theme, ground):
    words = [
        "ink",
        "soft",
        "link",
        "pass",
        "fail",
        "unenforced",
        "inconclusive",
        "untestable",
        "unoffered",
        "fact",
    ]
    for name in words:
        assert contrast(theme[name], theme[ground]) >= 4.5, name
    for name in (n for n in theme if re.fullmatch(r"r\d", n)):
        assert contrast(theme[name], theme["paper"]) >= 3, name
