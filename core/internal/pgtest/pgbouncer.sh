#!/usr/bin/env bash
# Puts a PgBouncer for tests into a directory, as DIRECTORY/pgbouncer: the one that
# is installed or, on Debian and its kin, the distribution's own, unpacked there.
# That needs no root and changes nothing of the system. Where there is none to be
# had it says so, and the tests that need one are skipped.
set -euo pipefail

mkdir -p "$1"
cd "$1"
trap 'echo "no PgBouncer is to be had here: tests that need one are skipped"' ERR

if installed=$(PATH=$PATH:/usr/sbin command -v pgbouncer); then
	ln -sfn "$installed" pgbouncer
	exit
fi
if ! command -v apt-get dpkg-deb >/dev/null; then
	echo 'no PgBouncer is installed and there is no apt-get to fetch one with: tests that need one are skipped'
	exit
fi

# A machine that never ran `apt-get update` has no lists of packages. Ours are our own.
apt=(-qq -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1)
if ! apt-cache show pgbouncer >/dev/null 2>&1; then
	mkdir -p lists/partial cache/archives/partial
	apt+=(-o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache")
	apt-get "${apt[@]}" update
fi

# With it come the libraries that it names and the machine lacks.
packages=(pgbouncer)
for library in $(apt-cache "${apt[@]}" depends pgbouncer | sed -n 's/^ *Depends: \(lib[a-z0-9.+-]*\)$/\1/p'); do
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$library" 2>/dev/null) == installed ]] || packages+=("$library")
done
mkdir -p packages root
(cd packages && apt-get "${apt[@]}" download "${packages[@]}")
for package in packages/*.deb; do dpkg-deb -x "$package" root; done

cat >pgbouncer <<'SCRIPT'
#!/bin/sh
# Runs the PgBouncer beside this script, with the libraries beside it.
root=$(dirname "$(readlink -f "$0")")/root
LD_LIBRARY_PATH=$(find "$root" -name '*.so.*' -printf '%h:') exec "$root/usr/sbin/pgbouncer" "$@"
SCRIPT
chmod +x pgbouncer
rm -rf packages lists cache
./pgbouncer --version | head -n 1
