# Extension API servers: an APIService, its conditions, requests and watches through the aggregator, its documents.

setup() {
  start_cluster -- --disable-agent
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/ext.key" -out "$work/ext.crt" -days 30 \
    -subj /CN=ext -addext 'subjectAltName=DNS:ext.default.svc'
  k get configmap -n kube-system extension-apiserver-authentication -o jsonpath='{.data.requestheader-client-ca-file}' > "$work/proxy-ca.crt"
}

teardown() { [[ -e $work/ext.pid ]] && kill "$(cat "$work/ext.pid")"; }

start_extension() {
  nsenter --net="/run/netns/kcl-$lab_name-1" -- python3 "$root/tests/e2e/extension_server.py" 7443 "$work/ext.crt" "$work/ext.key" "$work/proxy-ca.crt" >"$work/ext.out" 2>&1 &
  echo $! > "$work/ext.pid"
}

condition() { field apiservice/v1.ext.example.com '{.status.conditions[0].status} {.status.conditions[0].reason}'; }

case_local_api_services_are_available() {
  same "$(field apiservice/v1.apps '{.spec.groupPriorityMinimum} {.spec.versionPriority} {.status.conditions[0].reason}')" '17800 15 Local'
  has "$(k get apiservices)" 'v2.autoscaling'
}

case_groups_of_custom_resources_have_one() {
  k apply --validate=false -f - <<'Y'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.parts.example.com}
spec:
  group: parts.example.com
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
Y
  eventually 10 equals 'true Local' field apiservice/v1.parts.example.com '{.metadata.labels.kube-aggregator\.kubernetes\.io/automanaged} {.status.conditions[0].reason}'
  k delete crd gears.parts.example.com
  eventually 10 refused 'not found' k get apiservice v1.parts.example.com
}

case_conditions_say_what_is_missing() {
  k apply -f - <<Y
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.ext.example.com}
spec:
  group: ext.example.com
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 10
  caBundle: $(base64 -w0 "$work/ext.crt")
  service: {namespace: default, name: ext}
Y
  eventually 10 equals 'False ServiceNotFound' condition
  refused 'the server is currently unable to handle the request' k get --raw /apis/ext.example.com/v1
  k apply -f - <<'Y'
apiVersion: v1
kind: Service
metadata: {name: ext}
spec: {ports: [{port: 443, targetPort: 7443, name: https}]}
Y
  eventually 10 equals 'False EndpointsNotFound' condition
  k apply -f - <<'Y'
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ext, labels: {kubernetes.io/service-name: ext}}
addressType: IPv4
ports: [{name: https, port: 7443, protocol: TCP}]
endpoints: [{addresses: [10.99.0.1]}]
Y
  eventually 20 equals 'False FailedDiscoveryCheck' condition
}

case_an_extension_serves_its_group() {
  start_extension
  eventually 60 equals 'True Passed' condition
  has "$(k api-resources --api-group=ext.example.com)" widgets
  echo '{"apiVersion":"ext.example.com/v1","kind":"Widget","metadata":{"name":"one","namespace":"default"}}' | k create --validate=false -f -
  local asked
  asked=$(k get wd one --as=jane --as-group=system:masters -o jsonpath='{.status.askedBy}')
  has "$asked" '"user":"jane"'
  has "$asked" '"system:masters"'
  has "$asked" '"authorization":null'
  has "$asked" '"impersonate":null'
  refused 'widgets.ext.example.com "none" not found' k get wd none
}

case_rbac_holds_for_extensions() {
  refused 'cannot list resource "widgets" in API group "ext.example.com"' k get wd --as=nobody
}

case_a_watch_streams_through() {
  k_background get wd -w -o name >"$work/watch.out" 2>&1
  local watcher=$!
  eventually 10 grep -q widget.ext.example.com/one "$work/watch.out"
  sleep 0.5
  echo '{"apiVersion":"ext.example.com/v1","kind":"Widget","metadata":{"name":"two","namespace":"default"}}' | k create --validate=false -f -
  eventually 10 grep -q widget.ext.example.com/two "$work/watch.out"
  kill $watcher
}

case_documents_are_merged() {
  has "$(k get --raw /apis)" 'ext.example.com/v1'
  has "$(k get --raw /apis/ext.example.com)" '"preferredVersion"'
  has "$(k get --raw /openapi/v3)" '/openapi/v3/apis/ext.example.com/v1?hash=1'
  has "$(k get --raw /openapi/v3/apis/ext.example.com/v1)" 'com.example.ext.v1.Widget'
  k get --raw /openapi/v2 > "$work/v2.json"
  grep -q 'com.example.ext.v1.Widget' "$work/v2.json"
}

case_a_deleted_api_service_takes_its_group_along() {
  k delete apiservice v1.ext.example.com
  hasnt "$(k get --raw /apis)" ext.example.com
  refused 'NotFound' k get --raw /apis/ext.example.com/v1
}
