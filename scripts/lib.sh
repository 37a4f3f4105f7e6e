# shellcheck shell=bash
# What scripts/test and scripts/bench share. Sourced; the script that does so has `die`, and `work`, a scratch folder
# that the user postgres may pass through.

pg_ctl=
as_postgres=()

# Installs Debian packages, or says how to.
install() {
  local apt="apt-get install -y --no-install-recommends $*" sudo=()
  command -v apt-get >/dev/null || die "missing: $*. Install PostgreSQL 14 or newer, Chromium and chromedriver."
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null </dev/null || die "missing: $*. Run: sudo apt-get update && sudo $apt"
    sudo=(sudo -n --preserve-env=DEBIAN_FRONTEND)
  fi
  echo "== Installing $*"
  {
    "${sudo[@]}" apt-get update -qq && "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$@"
  } </dev/null >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; die "could not install: $*. Try: $apt"; }
}

# Rust and a C compiler.
check_compilers() {
  command -v cargo >/dev/null || die "cargo is missing: install Rust 1.95 or newer (https://rustup.rs)"
  command -v cc >/dev/null ||
    die "a C compiler is missing (build-essential). Run: sudo apt-get update && sudo apt-get install -y build-essential"
}

# The folder of the newest PostgreSQL's programs; Debian keeps them out of PATH.
postgres_programs() {
  local newest
  newest=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
  newest=${newest:-$(command -v initdb || true)}
  if [[ -n $newest ]]; then dirname "$newest"; fi
}

# A cluster of its own on loopback, thrown away at the end; its URL is in postgres_url. It may forget everything in a
# power cut, unless its settings (further arguments) say otherwise.
start_postgres() {
  local programs password port
  programs=$(postgres_programs)
  [[ -n $programs ]] || die "PostgreSQL's initdb is missing (package postgresql)"
  mkdir "$work/pg"
  # initdb refuses to be root.
  if ((EUID == 0)); then
    as_postgres=(runuser -u postgres --)
    chown postgres "$work/pg"
  fi
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s' "$password" >"$work/pg/password"
  (cd / && "${as_postgres[@]}" "$programs/initdb" -D "$work/pg/data" -U anteroom --pwfile="$work/pg/password" \
    --auth=password --encoding=UTF8 --locale=C.UTF-8 --no-sync) >"$work/initdb.log" 2>&1 ||
    { cat "$work/initdb.log" >&2; die "could not make a PostgreSQL cluster"; }
  cat >>"$work/pg/data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '$work/pg'
max_connections = 300
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
jit = off
END
  printf '%s\n' "$@" >>"$work/pg/data/postgresql.conf"
  for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    if (cd / && "${as_postgres[@]}" "$programs/pg_ctl" -D "$work/pg/data" -l "$work/pg/log" -o "-p $port" -w -t 60 \
      start) </dev/null >/dev/null 2>&1; then
      pg_ctl=$programs/pg_ctl
      # shellcheck disable=SC2034 # read by the script that sources this
      postgres_url=postgres://anteroom:$password@127.0.0.1:$port/postgres
      return
    fi
  done
  cat "$work/pg/log" >&2 || true
  die "PostgreSQL does not start"
}

# Nothing where none was started.
stop_postgres() {
  if [[ -n $pg_ctl ]]; then
    (cd / && "${as_postgres[@]}" "$pg_ctl" -D "$work/pg/data" -m immediate -w stop) || true
  fi
}
