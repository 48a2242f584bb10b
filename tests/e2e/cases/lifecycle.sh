# Points 1 and 2: up, down, status and the rest of the command line, in the places they use by default. Those are bound
# to scratch directories in this topic's own mount namespace, and the network is a host of the lab.

setup() {
  lab hosts --nodes 1
  local d; for d in /var/lib /run/kcube; do
    mkdir -p "$d" "$work$d"
    mount --bind "$work$d" "$d"
  done
  footprint >"$work/footprint"
}

teardown() { here down --all --purge --grace 0; umount -l /var/lib /run/kcube; }

node=$(hostname | tr A-Z a-z)
export_config() { export KUBECONFIG=$work/home/.kube/config; }
here() { export_config; on_host 1 "$kcube" "$@"; }
kc() { export_config; k "$@"; }

# All that a cluster could leave on a machine.
footprint() {
  echo "processes: $(ip netns pids "kcl-$lab_name-1" | wc -l) and in groups: $(cgroups_here | while read -r g; do cat "$g/cgroup.procs" 2>/dev/null; done | wc -l)"
  echo "cgroups:"; cgroups_here
  echo "mounts:"; awk '{print $5}' /proc/self/mountinfo | grep -E '^/(var/lib|run)/kcube/' || true
  echo "namespaces:"; ip netns list | grep -E '^kcube' || true
  echo "links:"; on_host 1 ip -o link | awk '{print $2}'
  echo "addresses:"; on_host 1 ip -4 -o addr | awk '{print $2, $4}'
  echo "routes:"; on_host 1 ip -4 route show table all | sort
  echo "rules:"; on_host 1 ip rule
  echo "tables:"; on_host 1 nft list tables
  echo "run:"; ls /run/kcube
}
# Groups of labs elsewhere have their data directory's hash in their name.
cgroups_here() { find /sys/fs/cgroup -maxdepth 2 -type d -regextype egrep -regex '.*/kcube(-[0-9]+|-(side|other)-[0-9a-f]{4}(-[0-9]+)?)?' | sort; }
nothing_is_left() { footprint 2>/dev/null | diff "$work/footprint" - >"$work/difference" || ! grep '^>' "$work/difference" >&2; }

case_up_says_its_steps_and_what_next() {
  local out; out=$(here up)
  has "$out" "certificates"; has "$out" "API server"; has "$out" "node ready"
  matches "$out" '[0-9]+\.[0-9]{2} s '
  has "$(tail -1 <<<"$out")" "Try: kubectl get nodes"
  has "$(kc get nodes)" " Ready "
}

case_up_again_changes_nothing() {
  local pid; pid=$(here status -o json | jq .pid)
  has "$(here up)" "running already"
  same "$(here status -o json | jq .pid)" "$pid"
  here up --quiet >"$work/quiet"; same "$(cat "$work/quiet")" ""
  same "$(here up -o json | jq -r .context)" kcube
}

case_the_context_is_merged_into_the_users_file() {
  export_config
  same "$(stat -c %a "$KUBECONFIG")" 600
  here down >/dev/null
  kc config set-context mine --cluster=elsewhere --user=me
  kc config use-context mine
  here up --keep-context >/dev/null
  same "$(kc config current-context)" mine
  here up >/dev/null
  same "$(kc config current-context)" kcube
  has "$(kc config get-contexts -o name | tr '\n' ' ')" "mine"
  mkdir -p "$work/theirs"; chmod 777 "$work/theirs"
  KUBECONFIG=$work/theirs/config SUDO_UID=65534 SUDO_GID=65534 on_host 1 "$kcube" up >/dev/null
  same "$(stat -c '%u %a' "$work/theirs/config")" "65534 600"
}

case_status() {
  same "$(here status -o json | jq -c '[.name, .state, .apiServer, .nodes[0].name, .nodes[0].ready]')" '["kcube","running","ok","'$node'",true]'
  matches "$(here status)" 'node +'"$node"' Ready'
  same "$(here status -o json | jq '.residentBytes > 1000000')" true
  refused "absent" here --name other status
}

case_the_rest_of_the_verbs() {
  has "$(here kubectl get nodes -o wide)" "$node"
  has "$(here kubectl -n kube-system get service kube-dns)" 10.43.0.10
  has "$(here logs --tail 5)" "server"
  has "$(here version)" v0
  same "$(here version -o json | jq -r 'has("version") or has("kcube")')" true
  has "$(here completion bash)" complete
  has "$(here completion zsh)" compdef
  has "$(here completion fish)" "complete -c kcube"
  has "$(here image ls)" kcube.io/demo
  same "$(here image ls -o json | jq -r 'tostring' | grep -c 'kcube.io/demo:1')" 1
  has "$(here --help)" "up"
  has "$(here up --help)" "--nodes"
  has "$(here runtime --help 2>&1 || true)" "create"
  refused 'unknown verb "nonsense"' here nonsense
  has "$(here kubectl --help)" "controls the Kubernetes cluster manager"
  refused "--name" here --name 'Bad Name' up
}

case_images_are_loaded_tagged_saved_and_removed() {
  KUBECONFIG=$work/home/.kube/config
  (flock 9; [[ -e $run_dir/busybox.tar ]] || make_busybox "$run_dir/busybox.tar") 9>"$run_dir/busybox.lock"
  here image load "$run_dir/busybox.tar"
  here image tag kcube.io/busybox:1 kcube.io/box:2
  has "$(here image ls)" "kcube.io/box"
  here image save kcube.io/box:2 -o "$work/box.tar"
  here image rm kcube.io/box:2
  hasnt "$(here image ls)" "kcube.io/box"
  here image load - <"$work/box.tar"
  has "$(here image ls)" "kcube.io/box"
  gzip -k "$work/box.tar"; here image load "$work/box.tar.gz"
  refused "kcube:" here image rm kcube.io/none:1
}

case_the_demo_answers() {
  local out url; out=$(here up --demo)
  url=$(grep -om1 'http://[0-9.:]*' <<<"$out")
  has "$(on_host 1 curl -s -m 5 "$url")" "Hello from demo-"
  has "$(tail -1 <<<"$out")" "Try: curl $url"
  same "$(here up --demo -o json | jq -r .url)" "$url"
}

case_clusters_side_by_side() {
  here --name side up >/dev/null
  has "$(kc --context kcube-side get nodes)" Ready
  kc --context kcube-side create deployment there --image=kcube.io/demo:1
  kc --context kcube-side rollout status deployment/there --timeout=60s
  kc --context kcube-side expose deployment there --port=80 --target-port=8080
  eventually 20 contains "Hello from there-" on_host 1 curl -s -m 5 "http://$(kc --context kcube-side get svc there -o 'jsonpath={.spec.clusterIP}')"
  refused NotFound kc --context kcube get deployment there
  kc --context kcube rollout status deployment/demo --timeout=30s
  here --name side down --purge --grace 0 >/dev/null
  has "$(kc --context kcube get nodes)" Ready
  has "$(on_host 1 curl -s -m 5 "http://10.99.0.1:$(kc --context kcube get svc demo -o 'jsonpath={.spec.ports[0].nodePort}')")" "Hello from demo-"
  hasnt "$(kc config get-contexts -o name | tr '\n' ' ')" side
}

case_more_nodes_on_the_same_machine() {
  here up --nodes 3 >/dev/null
  same "$(kc get nodes --no-headers | grep -c ' Ready ')" 3
  kc apply -f - <<<$'---\n{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: every}, spec: {selector: {matchLabels: {a: every}}, template: {metadata: {labels: {a: every}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "kcube.io/demo:1", readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}}]}}}}'
  kc rollout status daemonset/every --timeout=60s
  kc expose deployment demo --name=again --port=80 --target-port=8080
  local ip; for ip in $(kc get pods -l a=every -o 'jsonpath={.items[*].status.podIP}'); do has "$(on_host 1 curl -s -m 5 "http://$ip:8080")" "Hello from every-"; done
}

case_values_of_flags_are_checked_before_anything_starts() {
  local flag
  for flag in --cluster-cidr=nope --cluster-cidr=10.42.0.0/33 --service-cidr=10.0 --cluster-dns=10.43.0 --cluster-domain=a_b --node-name=Bad_Name --node-ip=300.1.1.1 \
      --node-label=bad '--node-label=a b=c' --node-taint=k=v --https-listen-port=99999 --disable=nope '--tls-san=bad san'; do
    refused "kcube: ${flag%%=*}" here --name odd up "$flag"
  done
  refused "overlap" here --name odd up --cluster-cidr 10.50.0.0/16 --service-cidr 10.50.0.0/20
  refused "is not in --service-cidr" here --name odd up --cluster-dns 1.2.3.4
  refused 'plugin "Nope" is unknown' here --name odd up --enable-admission-plugins Nope
  # None of them is remembered.
  here --name odd up --keep-context >/dev/null
  here --name odd down --purge --grace 0 >/dev/null
}

case_down_leaves_nothing_and_keeps_the_data() {
  kc create configmap remembered
  kc run cache --image=kcube.io/demo:1 --overrides='{"spec":{"containers":[{"name":"cache","image":"kcube.io/demo:1","volumeMounts":[{"name":"m","mountPath":"/m"}]}],"volumes":[{"name":"m","emptyDir":{"medium":"Memory"}}]}}'
  kc wait --for=condition=Ready pod/cache --timeout=30s
  has "$(here down --grace 1)" "its data is in"
  nothing_is_left
  refused '"stopped"' here status -o json
  refused 'is stopped: `kcube up` starts it' here kubectl get nodes
  here up >/dev/null
  kc get configmap remembered
  kc wait --for=condition=Available deployment/demo --timeout=60s
}

case_down_after_kill_9_leaves_nothing() {
  here up --nodes 2 >/dev/null
  kc wait --for=condition=Available deployment/demo --timeout=60s
  kill -9 $(ip netns pids "kcl-$lab_name-1" | while read -r p; do [[ $(readlink "/proc/$p/exe") == "$(readlink -f "$kcube")"* ]] && echo "$p"; done)
  here down --grace 1
  nothing_is_left
}

case_up_after_kill_9_takes_over() {
  here up >/dev/null
  kc wait --for=condition=Available deployment/demo --timeout=60s
  kill -9 "$(here status -o json | jq .pid)"
  eventually 10 refused '"stopped"' here status -o json
  here up >/dev/null
  kc wait --for=condition=Available deployment/demo --timeout=60s
}

case_up_remembers_its_flags() {
  here --name memo up --node-name first --node-label zone=a >/dev/null
  has "$(here --name memo up --node-name second)" "--node-name takes effect when it starts again"
  here --name memo up --node-name first >/dev/null
  here --name memo down --grace 0 >/dev/null
  here --name memo up --node-label zone=b >/dev/null
  same "$(kc --context kcube-memo get nodes -o name)" node/first
  same "$(kc --context kcube-memo get node first -o 'jsonpath={.metadata.labels.zone}')" b
  here --name memo down --purge --grace 0 >/dev/null
}

case_down_purges() {
  has "$(here down --purge --grace 0)" "its data are gone"
  nothing_is_left
  [[ ! -e /var/lib/kcube/server ]]
  hasnt "$(kc config get-contexts -o name | tr '\n' ' ')" kcube
  has "$(here down)" "There was no cluster"
}

case_only_root_may() {
  cp "$kcube" "$work/kcube"; chmod 755 "$work" "$run_dir" "$work/kcube"
  refused KC_NOT_ROOT on_host 1 setpriv --reuid 65534 --regid 65534 --clear-groups "$work/kcube" up
  refused KC_NOT_ROOT on_host 1 setpriv --reuid 65534 --regid 65534 --clear-groups "$work/kcube" down
}

case_a_port_in_use_is_named() {
  nsenter --net="/run/netns/kcl-$lab_name-1" -- busybox nc -ll -p 6443 -e true &
  local squatter=$!
  eventually 10 bash -c "ip netns exec kcl-$lab_name-1 ss -Hltn | grep -q ':6443 '"
  refused KC_PORT_IN_USE here up
  kill $squatter; wait $squatter || true
  eventually 5 nothing_is_left
  here down --purge >/dev/null
  nothing_is_left
}

case_a_data_directory_elsewhere() {
  here --data-dir "$work/elsewhere" up >/dev/null
  has "$(here --data-dir "$work/elsewhere" kubectl get nodes)" Ready
  [[ -e $work/elsewhere/server/db/state.db ]]
  here --data-dir "$work/elsewhere" down --purge --grace 0 >/dev/null
  [[ ! -e $work/elsewhere ]]
}

# In the foreground, as from a terminal that is closed: the signal that ended it, of SIGHUP (1) and a SIGTERM (15) behind it.
ended_by() {
  nsenter --net="/run/netns/kcl-$lab_name-1" -- "$@" "$kcube" server --disable-agent >"$work/hup.log" 2>&1 &
  local pid=$!
  eventually 10 grep -q 'API server' "$work/hup.log" >/dev/null
  kill -HUP $pid; kill -TERM $pid
  wait $pid
  sed -n 's/.*stopping signal=//p' "$work/hup.log"
}

case_a_hangup_ends_it_in_order_unless_ignored() {
  same "$(ended_by env --default-signal=HUP)" 1
  same "$(ended_by nohup)" 15
  here down --purge >/dev/null
}
