# Helpers for the end-to-end cases. A topic is a file cases/TOPIC.sh with `setup` and functions named case_*; each case
# runs in a shell of its own under `set -e`, so whatever fails fails the case, and its output says where.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kcube=${KCUBE:-$root/build/kcube}
mkimage=${MKIMAGE:-$(dirname "$kcube")/tools/mkimage}
export KCUBE=$kcube KUBECTL=${KUBECTL:-kubectl}
kubectls=("$(command -v kubectl)")
peers=${KCUBE_PEERS:-$root/../peers}
[[ -x $peers/kubectl ]] && kubectls+=("$peers/kubectl")
[[ -n ${KUBECTL_NEXT:-} ]] && kubectls+=("$KUBECTL_NEXT")

# --- the cluster of the topic: $lab_name, its directory $state, scratch files in $work

lab() { "$root/scripts/lab" --name "$lab_name" "$@"; }
on_host() { local n=$1; shift; nsenter --net="/run/netns/kcl-$lab_name-$n" -- "$@"; }
k() { on_host 1 "$KUBECTL" "$@"; }
# kubectl in the background; $! is kubectl itself.
k_background() { nsenter --net="/run/netns/kcl-$lab_name-1" -- "$KUBECTL" "$@" & }
kcube() { on_host 1 "$kcube" --data-dir "$state/node1" "$@"; }
server_pid() { kcube status -o json | jq -r .pid; }

start_cluster() { lab up "$@"; }

# An image with busybox as every command, made once a run and loaded into each node given (1).
load_busybox() {
  local image=$run_dir/busybox.tar n
  if [[ ! -e $image ]]; then
    (
      flock 9
      [[ -e $image ]] || make_busybox "$image"
    ) 9>"$run_dir/busybox.lock"
  fi
  for n in "${@:-1}"; do on_host "$n" "$kcube" --data-dir "$state/node$n" image load "$image"; done
}

make_busybox() {
  local tree=$run_dir/busybox
  mkdir -p "$tree"/{bin,etc,tmp,var,root,home}
  chmod 1777 "$tree/tmp"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  "$tree/bin/busybox" --list | while read -r applet; do [[ $applet == busybox ]] || ln -sf busybox "$tree/bin/$applet"; done
  echo 'root:x:0:0:root:/root:/bin/sh' > "$tree/etc/passwd"
  echo 'root:x:0:' > "$tree/etc/group"
  "$mkimage" --name kcube.io/busybox:1 --cmd sh --env PATH=/bin "$tree" "$1.new"
  mv "$1.new" "$1"
}

# --- assertions: each says what it saw

complain() { printf 'FAILED: %s\n' "$*" >&2; return 1; }
same() { [[ $1 == "$2" ]] || complain "expected '$2', got '$1'"; }
has() { [[ $1 == *"$2"* ]] || complain "expected to find '$2' in: $1"; }
hasnt() { [[ $1 != *"$2"* ]] || complain "did not expect '$2' in: $1"; }
matches() { [[ $1 =~ $2 ]] || complain "expected a match of /$2/ in: $1"; }

# refused TEXT CMD...: the command fails and what it says contains TEXT.
refused() {
  local text=$1 out; shift
  if out=$("$@" 2>&1 </dev/null); then complain "expected to fail: $* — it said: $out"; fi
  has "$out" "$text"
}

# eventually SECONDS CMD...: until it succeeds; the last attempt's output is shown when it never does.
eventually() {
  local end=$((SECONDS + $1)) out; shift
  while true; do
    if out=$("$@" 2>&1); then printf '%s\n' "$out"; return 0; fi
    if ((SECONDS >= end)); then complain "never came true: $* — last: $out"; return 1; fi
    sleep 0.2
  done
}

# equals WANTED CMD... / contains TEXT CMD...: for `eventually`.
equals() { local wanted=$1 got; shift; got=$("$@" 2>&1) || true; [[ $got == "$wanted" ]] || { echo "got '$got', not '$wanted'"; return 1; }; }
contains() { local text=$1 got; shift; got=$("$@" 2>&1) || true; [[ $got == *"$text"* ]] || { echo "no '$text' in: $got"; return 1; }; }

# field RESOURCE JSONPATH [FLAGS]
field() { local what=$1 path=$2; shift 2; k get "$what" "$@" -o "jsonpath=$path"; }

# terminal COMMAND: runs a line of shell on a pseudo terminal of 33 rows and 99 columns, standard input included.
terminal() { script -qec "stty rows 33 cols 99; $1" /dev/null; }
# The words that run kubectl for the topic's cluster, for `terminal` and `bash -c`.
kubectl_line() { echo "nsenter --net=/run/netns/kcl-$lab_name-1 -- $KUBECTL"; }

# A pod of busybox that runs a shell line; more lines of the container on standard input with --more.
busybox_pod() {
  local name=$1 line=$2
  k apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: $name, labels: {pod: $name}}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: ${restart:-Always}
  ${node:+nodeName: $node}
  containers:
  - name: main
    image: kcube.io/busybox:1
    command: [sh, -c, $(jq -Rn --arg v "$line" '$v')]
Y
}
ready() { k wait --for=condition=Ready "$@" --timeout=60s; }

# A line on standard error for every command that fails under set -e.
trace_failures() { trap 'echo "at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR; set -E; }
