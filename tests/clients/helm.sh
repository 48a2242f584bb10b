# What people do with Helm, on a chart with hooks, a definition and an object of it, a test and a schema of its values.
# Sourced by run; each case runs under `set -e`.
chart=$here/chart
export HELM_CACHE_HOME=$work/cache HELM_CONFIG_HOME=$work/config HELM_DATA_HOME=$work/data
helm() { on_host 1 "$store/helm" --namespace shop "$@"; }
# What Helm writes to standard error is a warning or worse.
quietly() {
  "$@" 2>"$work/stderr" || { cat "$work/stderr"; return 1; }
  [[ ! -s $work/stderr ]] || complain "$* warned: $(cat "$work/stderr")"
}
json() { quietly helm "$@" -o json; }

case_a_chart_is_checked_by_the_server() {
  quietly helm lint "$chart" | grep -q '0 chart(s) failed'
  k create namespace shop
  refused 'at '"'/replicas'"': got string, want integer' helm install web "$chart" --set-string replicas=many
  refused 'release: not found' helm status web
}
case_install_waits_for_all_and_runs_hooks() {
  has "$(quietly helm install web "$chart" --wait --timeout 90s)" 'web says hello.'
  same "$(json list | jq -r '.[] | "\(.name) \(.revision) \(.status) \(.chart) \(.app_version)"')" 'web 1 deployed shelf-1.2.3 4.5'
  same "$(field deployment '{.status.readyReplicas}' web -n shop)" 1
  same "$(field book '{.spec.title}' web -n shop)" hello
  has "$(k logs job/web-before -n shop)" 'before 1'
  same "$(field configmap '{.data.revision}' web-after -n shop)" 1
  has "$(field configmap '{.data.kubernetes}' web -n shop)" v1.36
  same "$(field deployment '{.metadata.annotations.meta\.helm\.sh/release-name}' web -n shop)" web
  refused 'cannot re-use a name that is still in use' helm install web "$chart"
}
case_status_shows_the_resources() {
  json status web --show-resources | jq -e '.info.resources | has("v1/Deployment") or has("v1/Pod(related)")' >/dev/null
  has "$(quietly helm get manifest web)" "namespace-uid: \"$(field namespace '{.metadata.uid}' shop)\""
  has "$(quietly helm upgrade web "$chart" --dry-run=server --set greeting=tried)" 'title: "tried"'
  has "$(quietly helm get hooks web)" 'helm.sh/hook: pre-delete'
}
case_the_chart_s_test_passes_and_shows_its_log() { has "$(quietly helm test web --logs --timeout 60s)" 'hello'; }
case_upgrade_changes_what_differs() {
  local uid=$(field service '{.metadata.uid}' web -n shop)
  # What others added stays.
  k annotate configmap web -n shop by=others
  quietly helm upgrade web "$chart" --set greeting=bonjour,replicas=2 --wait --timeout 90s
  same "$(field deployment '{.status.readyReplicas} {.metadata.generation}' web -n shop)" '2 2'
  same "$(field book '{.spec.title}' web -n shop)" bonjour
  same "$(field configmap '{.data.greeting} {.metadata.annotations.by}' web -n shop)" 'bonjour others'
  same "$(field service '{.metadata.uid}' web -n shop)" "$uid"
  has "$(k logs job/web-before -n shop)" 'before 2'
  has "$(quietly helm get values web)" 'greeting: bonjour'
}
case_a_failed_upgrade_is_rolled_back() {
  refused 'has been rolled back due to atomic being set' helm upgrade web "$chart" --set failing=true --atomic --timeout 6s
  same "$(field deployment '{.status.readyReplicas}' web -n shop)" 2
}
case_history_and_rollback() {
  quietly helm rollback web 1 --wait --timeout 90s
  same "$(field deployment '{.spec.replicas}' web -n shop)" 1
  same "$(field book '{.spec.title}' web -n shop)" hello
  same "$(json history web | jq -r '.[] | "\(.revision) \(.status) \(.description)"')" "$(printf '%s\n' '1 superseded Install complete' '2 superseded Upgrade complete' \
    '3 failed Upgrade "web" failed: context deadline exceeded' '4 superseded Rollback to 2' '5 deployed Rollback to 1')"
}
case_upgrade_or_install_and_templates_of_the_server() {
  quietly helm upgrade --install second "$chart" --set replicas=0 --wait --timeout 60s --skip-crds
  same "$(json list --filter second | jq -r '.[].status')" deployed
  quietly helm template third "$chart" --validate >/dev/null
  k get secret -n shop -l owner=helm,name=second,status=deployed -o name | grep -q sh.helm.release.v1.second.v1
}
case_adoption_is_refused() {
  k create configmap third -n shop
  refused 'ConfigMap "third" in namespace "shop" exists and cannot be imported into the current release' helm install third "$chart"
}
case_uninstall_leaves_nothing_but_the_definition() {
  has "$(quietly helm uninstall web second --wait --timeout 60s)" 'release "web" uninstalled'
  same "$(json list --all | jq length)" 0
  eventually 20 equals '' k get deployment,replicaset,pod,service,book,poddisruptionbudget -n shop -o name -l 'app.kubernetes.io/managed-by=Helm'
  same "$(k get books -n shop -o name)" ''
  has "$(k get crd -o name)" books.shelf.example.com
}

for c in $(declare -F | awk '$3 ~ /^case_/ {print $3}' | while read -r f; do (shopt -s extdebug; declare -F "$f"); done | sort -k2n | awk '{print $1}'); do
  # Not `if (…)`: there set -e would not count.
  (set -eE; trap 'echo "at: $BASH_COMMAND" >&2' ERR; "$c") >"$work/case" 2>&1 </dev/null
  if [[ $? -eq 0 ]]; then echo "ok $(tr _ ' ' <<<"${c#case_}")"; else echo "FAIL $(tr _ ' ' <<<"${c#case_}"): $(tail -4 "$work/case" | tr '\n' ' ')"; fi
done
