# `make bench` and `make test` do everything on a fresh Debian 12 machine; both are quick the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
SUITE ?= cgroups
RUNTIMES ?=
RUN_OPTIONS ?=
ALARMS ?=

HOST_PACKAGES := python3-venv gcc libc6-dev docker.io iptables slirp4netns bubblewrap mmdebstrap iproute2 util-linux e2fsprogs \
	libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core
MACHINE_PACKAGES := qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients libvirt-dev pkg-config python3-dev \
	dnsmasq-base busybox-static vagrant vagrant-libvirt openssh-client
TEST_PACKAGES := chromium chromium-driver poppler-utils runsc crun podman fio iperf3 sysbench rt-tests linux-perf hyperfine

.PHONY: help bench test check unit benchmark alarms figures setup host-packages machine-packages test-packages services image machines matrix wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

bench: setup image $(if $(RUNTIMES),machines) ## set up, run the suite, write the report; RUNTIMES=all adds virtual machines
	@$(SUDO) $(BIN)/bench run --suite $(SUITE) $(if $(RUNTIMES),--runtimes $(RUNTIMES)) $(RUN_OPTIONS); status=$$?; \
	if [ $$status -eq 1 ]; then echo "Some limits did not hold: the report above says which and why."; \
	elif [ $$status -ne 0 ]; then exit $$status; fi

test: host-packages test-packages machine-packages setup image machines check ## set up, then lint, types, import rules and every test
	$(SUDO) env CI="$(CI)" $(BIN)/pytest

check: $(VENV)/.ready ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy bench
	$(BIN)/lint-imports

unit: $(VENV)/.ready ## the tests that need neither root nor Docker
	$(BIN)/pytest tests/unit tests/contract

benchmark: setup test-packages image machines ## what the harness itself costs, as ratios within one run
	$(SUDO) $(BIN)/pytest tests/benchmarks --benchmark-only -o addopts="" -s

alarms: setup image ## the gate seen live, for an hour and more: silent ten times, caught ten times; ALARMS="docker --count 3"
	$(SUDO) $(BIN)/python -m tests.benchmarks.alarms $(ALARMS)

figures: $(VENV)/.ready ## write the figures of docs/method.md again, from the recorded starts
	$(BIN)/bench figures tests/fixtures/starts --write docs/method.md

# Packages first: the daemons are told of the OCI runtimes that are there when they start.
setup: host-packages $(VENV)/.ready services

$(VENV)/.ready: pyproject.toml
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

host-packages:
	@$(call install-missing,$(HOST_PACKAGES))

test-packages:
	@$(call install-missing,$(TEST_PACKAGES))

services: $(VENV)/.ready
	@$(SUDO) $(BIN)/bench doctor --start || [ $$? -eq 3 ]

image: $(VENV)/.ready
	@$(SUDO) $(BIN)/bench image build

# Its own start of daemons: `services` may have run before libvirt was installed.
machines: host-packages machine-packages $(VENV)/.machines image ## what virtual machines need: QEMU, libvirt, Vagrant, boot disk, box
	@$(SUDO) $(BIN)/bench doctor --start >/dev/null || [ $$? -eq 3 ]
	@$(SUDO) $(BIN)/bench image build --vm --box

$(VENV)/.machines: $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,vm]'
	@touch $@

machine-packages:
	@$(call install-missing,$(MACHINE_PACKAGES))

matrix: $(VENV)/.ready ## write the README's table of runtimes and limits again
	@$(BIN)/bench list matrix > README.matrix && sed -i -e '/^<!-- matrix/,/^<!-- end of matrix/{//!d}' \
		-e '/^<!-- matrix/r README.matrix' README.md; status=$$?; rm -f README.matrix; exit $$status

wheel: $(VENV)/.ready ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove what a killed run left on this host, and stop a Docker daemon this program started
	$(SUDO) $(BIN)/bench clean --services

# Debian packages that are not installed yet; a host without apt is told and goes on.
define install-missing
missing=""; for p in $(1); do dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; done; \
if [ -z "$$missing" ]; then :; \
elif ! command -v apt-get >/dev/null; then echo "no apt-get here; install by hand what you need of:$$missing"; \
elif [ -z "$(SUDO)" ] && [ "$$(id -u)" != 0 ]; then echo "not root and no sudo; ask for:$$missing"; \
else echo "installing:$$missing"; $(SUDO) apt-get -qq update && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $$missing >/dev/null; fi
endef
