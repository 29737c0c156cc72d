#!/bin/sh
# A PostgreSQL server of a test's own: postgres.sh PORT [FSYNC]. Says `ready` when it answers, then does as the lines of
# standard input say; when they end, whatever became of the test, the server goes and takes its data along.
# With FSYNC `on`, what it commits is on the disk: for benches.
set -eu
port=$1
fsync=${2:-off}
# Debian keeps it out of the PATH.
for folder in /usr/lib/postgresql/*/bin; do
    PATH="$PATH:$folder"
done
if ! command -v initdb >/dev/null; then
    echo "PostgreSQL is needed: install its server (Debian: sudo apt-get install postgresql)" >&2
    exit 2
fi
folder=$(mktemp -d)
# It refuses to run as root.
as=
if [ "$(id -u)" -eq 0 ]; then
    chown nobody "$folder"
    as="setpriv --reuid=nobody --regid=$(id -g nobody) --clear-groups"
fi
cd "$folder"

start() {
    $as postgres -D data -c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories="$folder" \
        -c fsync="$fsync" -c shared_buffers=16MB \
        -c ssl=on -c ssl_cert_file="$folder/server.crt" -c ssl_key_file="$folder/server.key" >>log 2>&1 </dev/null &
    postmaster=$!
    until pg_isready -q -h 127.0.0.1 -p "$port"; do
        kill -0 "$postmaster" 2>/dev/null || { cat log >&2; exit 1; }
        sleep 0.02
    done
}

# Each connection's process is a child in a session of its own.
signal() {
    for process in "$postmaster" $(cat "/proc/$postmaster/task/$postmaster/children"); do
        kill "-$1" "$process" 2>/dev/null || true
    done
}

finish() {
    signal KILL 2>/dev/null || true
    cd /
    rm -rf "$folder"
}

$as initdb -D data -U farebox -A trust -E UTF8 --locale=C.UTF-8 --no-sync --no-instructions >log 2>&1 || { cat log >&2; exit 1; }
# One user has to prove himself.
echo 'host all locked all scram-sha-256' | cat - data/pg_hba.conf >hba
cat hba >data/pg_hba.conf
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.crt \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 >>log 2>&1
chmod 600 server.key
[ -z "$as" ] || chown nobody server.key server.crt
trap finish EXIT
start
echo "ready $folder"
while read -r command; do
    case $command in
    pause) signal STOP ;;
    resume) signal CONT ;;
    stop)
        kill -INT "$postmaster"
        wait "$postmaster" || true
        ;;
    start) start ;;
    esac
    echo done
done
