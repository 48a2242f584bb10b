#!/bin/sh
# Requests a second of a small JSON answer over TLS keep-alive: run.sh BUILD_DIR [SECONDS]. Configure with -DKCUBE_BENCH=ON.
set -eu
build=$1 seconds=${2:-4}
work=$(mktemp -d)
pid=
trap '[ -n "$pid" ] && kill "$pid"; rm -rf "$work"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/k" -out "$work/c" -subj /CN=bench -days 2 2>/dev/null
mkfifo "$work/stdin"
"$build/tests/bench/http/http_json_server" "$work/c" "$work/k" <"$work/stdin" >"$work/port" &
pid=$!
exec 3>"$work/stdin"   # the server ends with its standard input
until [ -s "$work/port" ]; do sleep 0.05; done
url=https://127.0.0.1:$(cat "$work/port")
for connections in 1 64 512; do
  printf 'c=%s ' "$connections"
  wrk -t1 -c"$connections" -d"${seconds}s" --latency "$url/json" | awk '/Requests\/sec/ {r=$2} /99%/ {p=$2} END {print r " requests/s, p99 " p}'
done
printf 'handlers that block 20 ms, c=64: '
wrk -t1 -c64 -d"${seconds}s" "$url/block" | awk '/Requests\/sec/ {print $2 " requests/s"}'
grep VmRSS "/proc/$pid/status"
exec 3>&-
