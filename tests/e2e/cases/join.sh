# Point 5: a second host joins over TLS, and is as good as the first; its loss and its return are noticed.

setup() {
  start_cluster --nodes 2
  load_busybox 1 2
  k apply -f - <<'Y'
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: every}
spec:
  selector: {matchLabels: {app: every}}
  template:
    metadata: {labels: {app: every}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: kcube.io/busybox:1
        command: [sh, -c, 'mkdir /www; hostname >/www/index.html; echo serving; exec httpd -f -p 8080 -h /www']
        readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: every}
spec: {type: NodePort, selector: {app: every}, ports: [{port: 80, targetPort: 8080}]}
Y
  k rollout status daemonset/every --timeout=60s
}

pod_on() { k get pods -l app=every --field-selector "spec.nodeName=node$1" -o 'jsonpath={.items[0].metadata.name}'; }
ip_on() { k get pods -l app=every --field-selector "spec.nodeName=node$1" -o 'jsonpath={.items[0].status.podIP}'; }

# Of a service; without the warning that Endpoints are deprecated.
ready_addresses() { k get endpoints "$1" -o 'jsonpath={.subsets[*].addresses[*].ip}' 2>/dev/null; }

case_the_node_is_ready_with_its_own_certificates() {
  has "$(k get node node2)" " Ready "
  same "$(k get csr -o json | jq -r '[.items[] | select(.spec.signerName | startswith("kubernetes.io/kube")) | .status.certificate != null] | all')" true
  local signers; signers=$(k get csr -o 'jsonpath={.items[*].spec.signerName}')
  has "$signers" kubernetes.io/kube-apiserver-client-kubelet
  has "$signers" kubernetes.io/kubelet-serving
  has "$(on_host 2 openssl s_client -connect 10.99.0.2:10250 -CAfile "$state/node1/server/tls/ca.crt" </dev/null 2>&1)" "Verify return code: 0 (ok)"
  has "$(openssl x509 -in "$state"/node2/agent/pki/*client*.crt -noout -subject 2>&1 || openssl x509 -in "$state"/node2/agent/pki/kubelet.crt -noout -subject)" system:node:node2
}

case_a_wrong_token_is_refused_before_anything_is_sent() {
  local token; token=$(cat "$state/node1/server/token")
  # Another authority's hash: the server is not trusted, so the secret part must not be sent.
  local wrong; wrong=$(sed -E 's/[0-9a-f]{64}/'"$(printf '0%.0s' $(seq 64))"'/' <<<"$token")
  [[ $wrong != "$token" ]]
  refused "kcube:" on_host 2 timeout 20 "$kcube" --data-dir "$work/stranger" agent --server https://10.99.0.1:6443 --token "$wrong" --node-name stranger
  # The right authority, a wrong secret.
  wrong=${token%????}0000
  refused "kcube:" on_host 2 timeout 20 "$kcube" --data-dir "$work/stranger" agent --server https://10.99.0.1:6443 --token "$wrong" --node-name stranger
  refused "kcube:" on_host 2 timeout 20 "$kcube" --data-dir "$work/stranger" agent --server https://10.99.0.1:6443 --token nonsense --node-name stranger
  refused NotFound k get node stranger
}

case_tokens_are_made_listed_and_taken_back() {
  local line id; line=$(kcube token create --ttl 1h --description "for the test")
  matches "$line" '^kcube agent --server https://10\.99\.0\.1:6443 --token '
  has "$(kcube token list)" "for the test"
  id=$(kcube token list | awk '/for the test/ {print $1}')
  kcube token delete "$id"
  hasnt "$(kcube token list)" "for the test"
  refused "kcube:" on_host 2 timeout 20 "$kcube" --data-dir "$work/late" ${line#kcube } --node-name late
}

case_pods_of_both_nodes_reach_each_other() {
  same "$(k exec "$(pod_on 1)" -- wget -qO- "http://$(ip_on 2):8080/")" "$(pod_on 2)"
  same "$(k exec "$(pod_on 2)" -- wget -qO- "http://$(ip_on 1):8080/")" "$(pod_on 1)"
  # Sources stay what they are between pods.
  k exec "$(pod_on 1)" -- ping -c 1 -W 3 "$(ip_on 2)"
}

case_services_and_names_work_on_both() {
  local n; for n in 1 2; do
    k exec "$(pod_on $n)" -- sh -c 'for i in $(seq 20); do wget -qO- http://every.default.svc.cluster.local/; done' >"$work/spread$n"
    same "$(sort -u "$work/spread$n" | wc -l)" 2
    matches "$(k exec "$(pod_on $n)" -- nslookup -type=a kubernetes.default.svc.cluster.local)" 'Address: 10\.43\.0\.1($|[^0-9])'
  done
  local port; port=$(field svc/every '{.spec.ports[0].nodePort}')
  for n in 1 2; do
    on_host 1 bash -c "for i in \$(seq 20); do curl -s -m 5 http://10.99.0.$n:$port/; done" >"$work/node$n"
    same "$(sort -u "$work/node$n" | wc -l)" 2
  done
  k run inside --image=kcube.io/busybox:1 --restart=Never --overrides='{"spec":{"nodeName":"node2"}}' --command -- sh -c 'nc -w 3 kubernetes.default 443 </dev/null'
  k wait --for=jsonpath='{.status.phase}'=Succeeded pod/inside --timeout=30s
}

case_logs_exec_and_port_forward_reach_the_other_node() {
  local pod; pod=$(pod_on 2)
  same "$(k logs "$pod")" serving
  same "$(k exec "$pod" -- hostname)" "$pod"
  same "$(echo in | k exec -i "$pod" -- cat)" in
  k_background port-forward "$pod" 18080:8080 >"$work/pf.out" 2>&1
  local forward=$!
  eventually 10 contains Forwarding cat "$work/pf.out"
  same "$(on_host 1 curl -s -m 5 http://127.0.0.1:18080/)" "$pod"
  kill $forward
  echo copied >"$work/file"
  k cp "$work/file" "$pod:/tmp/file"
  same "$(k exec "$pod" -- cat /tmp/file)" copied
}

case_the_nodes_kubelet_answers_only_whom_it_may() {
  same "$(on_host 1 curl -sk -o /dev/null -w '%{http_code}' https://10.99.0.2:10250/pods)" 401
  k create serviceaccount nobody
  same "$(on_host 1 curl -sk -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(k create token nobody)" https://10.99.0.2:10250/pods)" 403
}

case_a_claim_is_a_directory_on_its_pods_node_until_it_is_deleted() {
  k apply -f - <<'Y'
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  nodeSelector: {kubernetes.io/hostname: node2}
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "kcube.io/busybox:1", command: [sh, -c, 'echo kept >/data/file; sleep 1000'], volumeMounts: [{name: d, mountPath: /data}]}]
  volumes: [{name: d, persistentVolumeClaim: {claimName: kept}}]
Y
  k wait --for=condition=Ready pod/writer --timeout=30s
  local volume directory; volume=$(field pvc/kept '{.spec.volumeName}')
  directory=$(field "pv/$volume" '{.spec.hostPath.path}')
  eventually 10 equals kept cat "$directory/file"
  k delete pod/writer pvc/kept
  k wait --for=delete "pv/$volume" --timeout=30s
  [[ ! -e $directory ]]
  # Where the directory is on another machine its kubelet removes it, and nothing else.
  local ask; ask=(curl -sk -X DELETE --cert "$work/admin.crt" --key "$work/admin.key")
  k config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$work/admin.crt"
  k config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >"$work/admin.key"
  mkdir -p "$work/storage/pvc-1_default_x/deep" "$work/storage/other"
  on_host 1 "${ask[@]}" "https://10.99.0.2:10250/localPath$work/storage/pvc-1_default_x"
  [[ ! -e $work/storage/pvc-1_default_x ]]
  has "$(on_host 1 "${ask[@]}" "https://10.99.0.2:10250/localPath$work/storage/other")" "not the directory of a local-path volume"
  [[ -e $work/storage/other ]]
}

case_an_agent_killed_and_started_again_keeps_its_pods() {
  local before; before=$(field "pod/$(pod_on 2)" '{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}')
  local pid; pid=$(cat "$state/node2.pid")
  kill -9 "$pid"
  same "$(on_host 2 curl -s -m 5 "http://$(ip_on 2):8080/")" "$(pod_on 2)"
  lab agent 2
  eventually 30 equals "$(pod_on 2)" k exec "$(pod_on 2)" -- hostname
  same "$(field "pod/$(pod_on 2)" '{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}')" "$before"
}

case_a_lost_node_is_noticed_and_its_return_too() {
  k apply -f - <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: mobile}
spec:
  replicas: 1
  selector: {matchLabels: {app: mobile}}
  template:
    metadata: {labels: {app: mobile}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node2]}]}}]}}
      containers: [{name: c, image: "kcube.io/demo:1"}]
Y
  k rollout status deployment/mobile --timeout=60s
  same "$(k get pods -l app=mobile -o 'jsonpath={.items[0].spec.nodeName}')" node2
  nsenter --net="/run/netns/kcl-$lab_name-net" -- ip link set h2 down
  eventually 90 contains NotReady k get node node2
  has "$(k get node node2 -o 'jsonpath={.spec.taints[*].key}')" node.kubernetes.io/unreachable
  on_node1() { k get pods -l app=mobile -o json | jq -e '[.items[] | select(.spec.nodeName == "node1" and .status.phase == "Running")] | length == 1'; }
  eventually 60 on_node1
  eventually 30 equals "$(ip_on 1)" ready_addresses every
  nsenter --net="/run/netns/kcl-$lab_name-net" -- ip link set h2 up
  k wait --for=condition=Ready node/node2 --timeout=90s
  only_one() { [[ $(k get pods -l app=mobile -o name | wc -l) == 1 ]]; }
  eventually 60 only_one
  same "$(k get node node2 -o 'jsonpath={.spec.taints}')" ""
  k rollout status daemonset/every --timeout=60s
  eventually 20 equals "$(pod_on 2)" k exec "$(pod_on 1)" -- wget -qO- "http://$(ip_on 2):8080/"
}
