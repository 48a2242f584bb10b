# Point 6: kcube is killed; what runs goes on, and is taken over again; nothing acknowledged is lost.

setup() {
  start_cluster
  load_busybox
  k create deployment web --image=kcube.io/demo:1 --replicas=2
  k expose deployment web --port=80 --target-port=8080
  busybox_pod counter 'i=0; while true; do i=$((i+1)); echo count $i; sleep 0.2; done'
  k rollout status deployment/web --timeout=60s
  ready pod/counter
  eventually 20 contains "Hello from web-" on_host 1 curl -s -m 5 "http://$(vip)/"
}

vip() { field svc/web '{.spec.clusterIP}'; }
kill_server() { local pid; pid=$(server_pid); kill -9 "$pid"; eventually 10 bash -c "! kill -0 $pid 2>/dev/null"; }
# The processes of the containers, with their start times: the same before and after.
demo_processes() {
  local p; for p in $(pgrep -x demo; pgrep -f 'echo count'); do
    [[ $(cat "/proc/$p/cgroup" 2>/dev/null) == *"$(cgroup_name)"* ]] && echo "$p $(awk '{print $22}' "/proc/$p/stat")"
  done | sort
}
# kcube names its groups after the cluster and its data directory; read it off the server's own containers.
cgroup_name() { cat "$work/cgroup"; }
identities() { k get pods -o json | jq -c '[.items[] | {n: .metadata.name, u: .metadata.uid, c: [.status.containerStatuses[] | {containerID, restartCount, startedAt: .state.running.startedAt}]}] | sort_by(.n)'; }

find_cgroup() {
  local id; id=$(field pod/counter '{.metadata.uid}')
  local p; for p in $(pgrep -f 'echo count'); do
    if grep -q "${id//-/.}\|$id" "/proc/$p/cgroup" 2>/dev/null; then grep -o '/kcube-[^/]*' "/proc/$p/cgroup" | head -1 >"$work/cgroup"; return 0; fi
  done
  complain "no process of pod counter (uid $id) found by its cgroup: $(pgrep -f 'echo count' | xargs -I{} cat /proc/{}/cgroup | sort -u | head -5)"
}

case_containers_go_on_and_serve_while_kcube_is_dead() {
  find_cgroup
  identities >"$work/before"; demo_processes >"$work/pids"
  [[ -s $work/pids ]]
  local ip; ip=$(vip)
  kill_server
  demo_processes | diff "$work/pids" -
  local i; for i in 1 2 3 4 5; do has "$(on_host 1 curl -s -m 5 "http://$ip/")" "Hello from web-"; done
  lab up
  eventually 20 contains '"ready":true' kcube status -o json
}

case_they_are_adopted_with_the_same_pids() {
  k wait --for=condition=Ready node/node1 --timeout=30s
  demo_processes | diff "$work/pids" -
  eventually 20 equals "$(cat "$work/before")" identities
  k rollout status deployment/web --timeout=30s
}

case_adopted_containers_are_as_good_as_before() {
  same "$(k exec counter -- echo alive)" alive
  has "$(k logs counter)" "count 1"
  local last; last=$(k logs counter --tail=1)
  more() { [[ $(k logs counter --tail=1) != "$last" ]]; }
  eventually 10 more
  # Its end is noticed, too.
  k exec counter -- kill 1 || true
  k exec counter -- sh -c 'kill -9 -1' || true
  k delete pod counter --now --timeout=30s
  local victim; victim=$(k get pods -l app=web -o 'jsonpath=pod/{.items[0].metadata.name}')
  k delete "$victim" --timeout=30s
  k rollout status deployment/web --timeout=30s
}

case_nothing_acknowledged_is_lost() {
  local i
  (for i in $(seq 200); do k create configmap "kept-$i" --from-literal="n=$i" -o name || break; done >"$work/acknowledged" 2>/dev/null) &
  local writer=$!
  at_least() { (( $(wc -l <"$work/acknowledged") >= $1 )); }
  eventually 60 at_least 8
  kill_server
  wait $writer || true
  lab up
  k get configmaps -o name | grep kept- | sort >"$work/present"
  sort "$work/acknowledged" | comm -23 - "$work/present" | diff /dev/null -
}

case_watches_resume_where_they_were() {
  local version; version=$(k get --raw /api/v1/namespaces/default/configmaps | jq -r .metadata.resourceVersion)
  k create configmap before-the-kill
  kill_server
  lab up
  k create configmap after-the-kill
  local events; events=$(k get --raw "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=$version&timeoutSeconds=2" | jq -r 'select(.type == "ADDED") | .object.metadata.name' | tr '\n' ' ')
  has "$events" "before-the-kill after-the-kill"
}

case_killed_while_pods_start_and_end() {
  local round
  for round in 1 2; do
    k scale deployment web --replicas=8
    sleep 0.$((round * 3))
    kill_server
    lab up
    k rollout status deployment/web --timeout=60s
    k scale deployment web --replicas=2
    sleep 0.$((round * 2))
    kill_server
    lab up
    eventually 60 equals 2 bash -c "$(kubectl_line) get pods -l app=web --no-headers | wc -l"
  done
  k rollout status deployment/web --timeout=60s
  eventually 10 contains "Hello from web-" on_host 1 curl -s -m 5 "http://$(vip)/"
  # Only the two that are wanted run on the machine, too.
  eventually 20 equals 2 bash -c "on_machine() { local n=0 p; for p in \$(pgrep -x demo); do grep -q '$(cgroup_name)' /proc/\$p/cgroup 2>/dev/null && n=\$((n+1)); done; echo \$n; }; on_machine"
}

case_containers_that_end_while_kcube_is_dead_are_restarted() {
  local pod; pod=$(k get pods -l app=web -o 'jsonpath=pod/{.items[0].metadata.name}')
  local name=${pod#pod/} id; id=$(field "$pod" '{.metadata.uid}')
  local p victim=; for p in $(pgrep -x demo); do grep -q "${id//-/.}\|$id" "/proc/$p/cgroup" && victim=$p; done
  [[ -n $victim ]]
  kill_server
  kill -9 "$victim"
  lab up
  eventually 30 equals 1 field "$pod" '{.status.containerStatuses[0].restartCount}'
  same "$(field "$pod" '{.status.containerStatuses[0].lastState.terminated.exitCode}')" 137
  ready "$pod"
}
