# Point 3, the verbs that carry streams: logs, exec, attach, cp, port-forward; run once for each kubectl.

setup() {
  start_cluster
  load_busybox
  k apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "kcube.io/busybox:1", command: [sh, -c, 'for i in 1 2 3 4 5; do echo line $i; done; echo wrong >&2; while true; do sleep 1; done']}
  - {name: side, image: "kcube.io/busybox:1", command: [sh, -c, 'echo from side; mkdir -p /www; echo served >/www/index.html; exec httpd -f -p 8080 -h /www']}
Y
  ready pod/two
  k expose pod two --port=80 --target-port=8080
}

case_logs() {
  eventually 10 contains "line 5" k logs two -c main
  has "$(k logs two)" "line 1"   # the first container, said on standard error
  same "$(k logs two -c side)" "from side"
  same "$(k logs two -c main --tail=2 | sort | tr '\n' ' ')" "line 5 wrong "
  same "$(k logs two -c main --limit-bytes=6)" "line 1"
  has "$(k logs two --all-containers)" "from side"
  has "$(k logs -l app=two --all-containers --prefix)" "[pod/two/side] from side"
  matches "$(k logs two -c side --timestamps)" '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z from side'
  same "$(k logs two -c side --since-time=2100-01-01T00:00:00Z)" ""
  has "$(k logs two -c side --since=1h)" "from side"
  refused "container nope is not valid for pod two" k logs two -c nope
  refused 'pods "none" not found' k logs none
}

case_logs_follow() {
  busybox_pod ticks 'i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo tick $i; sleep 0.3; done; echo over; sleep 1000'
  ready pod/ticks
  k_background logs -f ticks >"$work/follow.out"
  local follower=$!
  eventually 20 contains over cat "$work/follow.out"
  same "$(head -1 "$work/follow.out")" "tick 1"
  # It ends when the container does.
  k delete pod ticks --now
  eventually 20 bash -c "! kill -0 $follower 2>/dev/null"
}

case_logs_previous() {
  busybox_pod crash 'if [ -e /tmp/x ]; then :; fi; echo run $(date +%N); exit 1'
  eventually 30 contains "run" k logs crash --previous
  eventually 30 bash -c "(( \$($(kubectl_line) get pod crash -o 'jsonpath={.status.containerStatuses[0].restartCount}') >= 1 ))"
  refused "previous terminated container" k logs two -c main --previous
  k delete pod crash --now
}

case_exec() {
  same "$(k exec two -c main -- echo hello)" hello
  same "$(k exec two -c main -- sh -c 'echo out; echo err >&2' 2>/dev/null)" out
  same "$(k exec two -c main -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
  local code=0; k exec two -c main -- sh -c 'exit 7' || code=$?
  same $code 7
  code=0; k exec two -c main -- nonexistent 2>"$work/err" || code=$?
  [[ $code != 0 ]]; has "$(cat "$work/err")" "nonexistent"
  refused "container not found" k exec two -c nope -- true || refused "container nope is not valid" k exec two -c nope -- true
  refused 'pods "none" not found' k exec none -- true
  has "$(k exec deployment/none -- true 2>&1 || true)" "not found"
}

case_exec_with_input() {
  same "$(echo through | k exec -i two -c main -- cat)" through
  # Nothing is lost of much, in both directions at once.
  head -c 5000000 /dev/urandom >"$work/much"
  same "$(k exec -i two -c main -- cat <"$work/much" | sha256sum)" "$(sha256sum <"$work/much")"
  same "$(head -c 100000 "$work/much" | k exec -i two -c main -- wc -c | tr -d ' ')" 100000
}

case_exec_on_a_terminal() {
  has "$(terminal "$(kubectl_line) exec -it two -c main -- sh -c 'sleep 1; stty size; tty'" </dev/null)" "33 99"
  has "$( (sleep 2; echo 'echo typed $((6*7)); exit 4'; sleep 2) | terminal "$(kubectl_line) exec -it two -c main -- sh; echo code=\$?")" "typed 42"
}

case_exec_ends_when_the_client_goes() {
  local i
  for i in 1 2 3; do
    timeout 2 nsenter --net="/run/netns/kcl-$lab_name-1" -- "$KUBECTL" exec two -c main -- sh -c 'while true; do echo spin; sleep 0.1; done' >/dev/null || true
  done
  # Writers find their pipe broken, and the next ones work.
  eventually 20 equals 0 bash -c "$(kubectl_line) exec two -c main -- sh -c 'ps | grep -c \"[e]cho spin\"' 2>/dev/null || true"
  same "$(k exec two -c main -- echo still)" still
}

case_attach() {
  busybox_pod echoing 'while true; do echo beat; sleep 0.2; done'
  ready pod/echoing
  has "$(timeout 3 nsenter --net="/run/netns/kcl-$lab_name-1" -- "$KUBECTL" attach echoing 2>/dev/null || true)" beat
  k apply -f - <<<$'---\n{apiVersion: v1, kind: Pod, metadata: {name: input}, spec: {terminationGracePeriodSeconds: 0, restartPolicy: Never, containers: [{name: c, image: "kcube.io/busybox:1", stdin: true, stdinOnce: true, command: [sh, -c, "read line; echo got $line"]}]}}'
  ready pod/input
  has "$(echo words | k attach -i input 2>&1)" "got words"
  k wait --for=jsonpath='{.status.phase}'=Succeeded pod/input --timeout=30s
  k delete pod echoing input --now
}

case_cp() {
  mkdir -p "$work/tree/sub"; echo one >"$work/tree/a"; head -c 3000000 /dev/urandom >"$work/tree/sub/b"
  k cp "$work/tree" two:/tmp/tree -c main
  k cp two:/tmp/tree "$work/back" -c main
  diff -r "$work/tree" "$work/back"
  k cp "$work/tree/a" two:/tmp/single -c main
  same "$(k exec two -c main -- cat /tmp/single)" one
}

case_port_forward() {
  k_background port-forward two 18080:8080 >"$work/pf.out" 2>&1
  local forward=$!
  eventually 10 contains "Forwarding from 127.0.0.1:18080 -> 8080" cat "$work/pf.out"
  local i; for i in 1 2 3 4 5; do same "$(on_host 1 curl -s -m 10 http://127.0.0.1:18080/)" served; done
  # Many at once over one tunnel.
  on_host 1 bash -c 'for i in $(seq 20); do curl -s -m 10 http://127.0.0.1:18080/ & done; wait' >"$work/many.out"
  same "$(grep -c served "$work/many.out")" 20
  kill $forward; wait $forward || true
  k_background port-forward service/two 18081:80 >"$work/pf2.out" 2>&1
  forward=$!
  eventually 10 contains "Forwarding" cat "$work/pf2.out"
  same "$(on_host 1 curl -s -m 10 http://127.0.0.1:18081/)" served
  kill $forward
}

case_port_forward_to_a_closed_port() {
  k_background port-forward two 18082:81 >"$work/pf3.out" 2>&1
  local forward=$!
  eventually 10 contains "Forwarding" cat "$work/pf3.out"
  on_host 1 curl -s -m 10 http://127.0.0.1:18082/ || true
  eventually 10 contains "rror" cat "$work/pf3.out"
  kill $forward 2>/dev/null || true
}

case_proxy() {
  k_background proxy --port=18001 >"$work/proxy.out" 2>&1
  local proxy=$!
  eventually 10 contains "Starting to serve" cat "$work/proxy.out"
  has "$(on_host 1 curl -s http://127.0.0.1:18001/version)" gitVersion
  same "$(on_host 1 curl -s http://127.0.0.1:18001/api/v1/namespaces/default/pods/two:8080/proxy/)" served
  same "$(on_host 1 curl -s http://127.0.0.1:18001/api/v1/namespaces/default/services/two:80/proxy/)" served
  # Every method is the pod's to answer, also those that are no verb of the API.
  local method address; address=$(k get pod two -o jsonpath='{.status.podIP}')
  for method in OPTIONS PUT DELETE; do
    same "$method $(on_host 1 curl -s -X $method -w '%{http_code}' http://127.0.0.1:18001/api/v1/namespaces/default/pods/two:8080/proxy/)" \
      "$method $(on_host 1 curl -s -X $method -w '%{http_code}' "http://$address:8080/")"
  done
  kill $proxy
}

case_debug() {
  k debug two --image=kcube.io/busybox:1 --target=main -c dbg -- sh -c 'echo debugging; sleep 1000'
  eventually 20 contains debugging k logs two -c dbg
}
