# Readies the tree "$2" for the packages (before) and with them (after): a hook of mmdebstrap.
set -e
root=$2

if [ "$1" = before ]; then
	# The package would make a cluster of its own at a place and with a configuration that no trial uses.
	mkdir -p "$root/etc/postgresql-common"
	printf 'create_main_cluster = false\n' > "$root/etc/postgresql-common/createcluster.conf"
	exit 0
fi

# What nobody runs: compiling of queries, which every server here has switched off, and what people read.
rm -rf "$root"/usr/lib/*/libLLVM-*.so* "$root"/usr/lib/llvm-* "$root"/usr/lib/postgresql/*/lib/bitcode \
	"$root"/usr/lib/postgresql/*/lib/llvmjit*.so "$root"/usr/share/locale/* "$root"/usr/share/doc/* \
	"$root"/usr/share/man/* "$root"/usr/share/lintian "$root"/etc/apt/sources.list* "$root"/var/log/* \
	"$root"/var/cache/* "$root"/var/lib/apt/lists/* "$root"/etc/hostname "$root"/etc/resolv.conf "$root"/etc/machine-id

# PostgreSQL refuses root, and a database takes seconds to make: it is made here, once, and every trial copies it.
home=/var/lib/isobench/postgres
programs=$(cd "$root" && echo /usr/lib/postgresql/*/bin)
mkdir -p "$root$home"
chroot "$root" chown postgres:postgres "$home"

as_postgres() {
	chroot "$root" setpriv --reuid=postgres --regid=postgres --clear-groups \
		env LC_ALL=C HOME=/tmp PGHOST=/tmp PGUSER=bench "$@"
}

as_postgres "$programs/initdb" --pgdata="$home/data" --no-sync --auth=trust --encoding=UTF8 --locale=C \
	--username=bench > /dev/null
printf 'host all all all trust\n' >> "$root$home/data/pg_hba.conf"
as_postgres "$programs/pg_ctl" --pgdata="$home/data" --wait --silent --log=/tmp/postgres.log \
	--options="-c listen_addresses= -c unix_socket_directories=/tmp -c fsync=off -c jit=off" start > /dev/null
as_postgres "$programs/createdb" bench
as_postgres "$programs/pgbench" --initialize --quiet --scale=1 bench > /dev/null 2>&1
as_postgres "$programs/psql" --quiet --command="vacuum (freeze, analyze)" bench > /dev/null
as_postgres "$programs/pg_ctl" --pgdata="$home/data" --wait --silent --mode=fast stop > /dev/null
rm -f "$root/tmp/postgres.log" "$root$home/data/postmaster.opts"
