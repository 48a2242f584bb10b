# API Priority and Fairness, metrics, and limits on what clients may send: the API server's door.

setup() {
  start_cluster -- --disable-agent --kube-apiserver-arg=profiling=true
  k apply -f - <<'Y'
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: closed}
spec: {type: Limited, limited: {nominalConcurrencyShares: 0, borrowingLimitPercent: 0, limitResponse: {type: Queue, queuing: {queues: 1, handSize: 1, queueLengthLimit: 1}}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: bob-lists}
spec:
  priorityLevelConfiguration: {name: closed}
  matchingPrecedence: 50
  distinguisherMethod: {type: ByUser}
  rules: [{subjects: [{kind: User, user: {name: bob}}], resourceRules: [{verbs: [list], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*']}]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bob}
subjects: [{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: ClusterRole, name: view, apiGroup: rbac.authorization.k8s.io}
Y
  k config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d > "$work/cert"
  k config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d > "$work/key"
}

server_url() { k config view -o 'jsonpath={.clusters[0].cluster.server}'; }
api() { local path=$1; shift; on_host 1 curl -sk --cert "$work/cert" --key "$work/key" "$@" "$(server_url)$path"; }

case_answers_name_their_flow() {
  local head
  head=$(api /api/v1/namespaces/default -D - -o "$work/answer" -H 'Impersonate-User: bob')
  has "$head" "X-Kubernetes-Pf-Flowschema-Uid: $(k get flowschema global-default -o 'jsonpath={.metadata.uid}')"
  has "$head" "X-Kubernetes-Pf-Prioritylevel-Uid: $(k get prioritylevelconfiguration global-default -o 'jsonpath={.metadata.uid}')"
}

case_what_finds_no_seat_waits_and_is_refused() {
  local head
  api '/api/v1/namespaces?timeout=8s' -D "$work/first" -o /dev/null -H 'Impersonate-User: bob' &
  for _ in $(seq 50); do
    [[ $(api '/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1') == *"/api/v1/namespaces,"* ]] && break
    sleep 0.1
  done
  # The queue has room for one.
  head=$(api /api/v1/namespaces -i -H 'Impersonate-User: bob')
  has "$head" 'HTTP/1.1 429 Too Many Requests'
  has "$head" 'Retry-After: 1'
  has "$head" 'Too many requests, please try again later.'
  has "$(k get --raw /metrics)" 'apiserver_flowcontrol_rejected_requests_total{flow_schema="bob-lists",priority_level="closed",reason="queue-full"}'
  same "$(api /api/v1/namespaces/default -o /dev/null -w '%{http_code}' -H 'Impersonate-User: bob')" 200
  wait
  has "$(cat "$work/first")" 'HTTP/1.1 429 Too Many Requests'
  has "$(k get --raw /metrics)" 'priority_level="closed",reason="time-out"} 1'
}

case_a_client_that_leaves_leaves_the_queue() {
  api /api/v1/configmaps -m 1 -o /dev/null -H 'Impersonate-User: bob' || true
  for _ in $(seq 50); do
    [[ $(k get --raw /debug/api_priority_and_fairness/dump_requests) != *closed* ]] && break
    sleep 0.1
  done
  hasnt "$(k get --raw /debug/api_priority_and_fairness/dump_requests)" closed
}

case_builtin_configuration_is_kept() {
  k delete flowschema catch-all service-accounts
  k patch flowschema global-default --type merge -p '{"spec":{"matchingPrecedence":9899}}'
  k annotate flowschema system-nodes apf.kubernetes.io/autoupdate-spec=false --overwrite
  k patch flowschema system-nodes --type merge -p '{"spec":{"matchingPrecedence":501}}'
  for _ in $(seq 50); do
    [[ $(k get flowschema global-default -o 'jsonpath={.spec.matchingPrecedence}') == 9900 ]] && k get flowschema catch-all service-accounts && break
    sleep 0.1
  done
  same "$(k get flowschema global-default -o 'jsonpath={.spec.matchingPrecedence}')" 9900
  same "$(k get flowschema system-nodes -o 'jsonpath={.spec.matchingPrecedence}')" 501
  k get flowschema catch-all service-accounts
  refused "spec of 'exempt' must equal the fixed value" k patch flowschema exempt --type merge -p '{"spec":{"matchingPrecedence":7}}'
}

case_a_schema_without_its_level_dangles() {
  k get flowschema bob-lists -o json | jq '.metadata = {name: "lost"} | .spec.priorityLevelConfiguration.name = "nowhere" | .spec.matchingPrecedence = 9000' | k create -f -
  k wait --for=condition=Dangling=True --timeout=10s flowschema/lost
  same "$(k get flowschema lost -o 'jsonpath={.status.conditions[0].reason}')" NotFound
  k get prioritylevelconfiguration closed -o json | jq '.metadata = {name: "nowhere"}' | k create -f -
  k wait --for=condition=Dangling=False --timeout=10s flowschema/lost
}

case_metrics_have_the_real_names() {
  local text
  k get namespaces
  text=$(k get --raw /metrics)
  matches "$text" 'apiserver_request_total\{code="200",component="apiserver",dry_run="",group="",resource="namespaces",scope="cluster",subresource="",verb="LIST",version="v1"\} [0-9]+'
  for name in apiserver_request_duration_seconds_bucket apiserver_current_inflight_requests apiserver_longrunning_requests apiserver_storage_objects \
    apiserver_audit_event_total apiserver_flowcontrol_dispatched_requests_total kubernetes_build_info process_resident_memory_bytes; do
    has "$text" "$name"
  done
  has "$(k get --raw /metrics/slis)" 'kubernetes_healthcheck{name="etcd",type="readyz"} 1'
  has "$(k get --raw /statusz)" 'apiserver statusz'
  has "$(k get --raw /flagz)" 'max-requests-inflight'
  has "$(k get --raw /debug/pprof/threads)" 'store-writer'
  refused 'could not find the requested resource' k get --raw /logs/
  refused 'User "bob" cannot get path "/metrics"' k get --raw /metrics --as bob
}

case_bodies_that_harm_are_refused() {
  head -c 4000000 /dev/zero > "$work/large"
  same "$(api /api/v1/namespaces/default/configmaps -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' --data-binary "@$work/large")" 413
  head -c 500000 /dev/zero | tr '\0' '[' > "$work/deep"
  same "$(api /api/v1/namespaces/default/configmaps -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' --data-binary "@$work/deep")" 400
  same "$(api /api/v1/namespaces/default/configmaps -o /dev/null -w '%{http_code}' -H 'Content-Type: application/yaml' --data-binary "@$work/deep")" 400
  { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"A B"}'; seq -f ',"k%.0f":0' 100000; printf '}'; } > "$work/wide"
  api /api/v1/namespaces/default/configmaps -D "$work/head" -o /dev/null -H 'Content-Type: application/json' --data-binary "@$work/wide"
  has "$(cat "$work/head")" 'HTTP/1.1 422'
  [[ $(wc -c < "$work/head") -lt 8000 ]] || complain "warnings of $(wc -c < "$work/head") bytes"
  same "$(api /api -o /dev/null -w '%{http_code}' $(seq -f '-HX-%.0f:1' 300))" 431
  k get namespace default
}
