# Who is believed, who decides, what is recorded and what is encrypted: flags of the API server seen from outside.

setup() {
  mkdir -p "$work/etc"
  cat > "$work/etc/tokens.csv" <<'T'
alice-token,alice,uid-1,"devs,ops"
masters-token,root,uid-2,system:masters
T
  cat > "$work/etc/policy.yaml" <<'Y'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:kube-scheduler"]}
- level: RequestResponse
  resources: [{group: "", resources: [configmaps]}]
  namespaces: [default]
- {level: Request, users: ["system:kube-controller-manager"], verbs: [create], resources: [{group: "", resources: [serviceaccounts]}]}
- level: Metadata
  resources: [{group: "", resources: [secrets]}, {group: rbac.authorization.k8s.io}]
Y
  write_encryption one "$(head -c 32 /dev/zero | base64)"
  openssl ecparam -name prime256v1 -genkey -noout -out "$work/etc/old-sa.key"
  start_cluster -- --disable-agent --token-auth-file "$work/etc/tokens.csv" --audit-policy-file "$work/etc/policy.yaml" --audit-log-path "$work/etc/audit.log" \
    --encryption-provider-config "$work/etc/encryption.yaml" --encryption-provider-config-automatic-reload true \
    --service-account-key-file "$work/etc/old-sa.key" --kube-apiserver-arg=api-audiences=api,https://kubernetes.default.svc.cluster.local
}

# write_encryption NAME KEY [MORE KEYS AS YAML]
write_encryption() {
  cat > "$work/etc/encryption.new" <<Y
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm: {keys: [{name: $1, secret: $2}${3:+, $3}]}
  - identity: {}
Y
  mv "$work/etc/encryption.new" "$work/etc/encryption.yaml"
}

api() { on_host 1 curl -sk "$@"; }
server_url() { k config view -o 'jsonpath={.clusters[0].cluster.server}'; }
database_has() { grep -qaF -- "$1" "$state"/node1/server/db/state.db*; }

case_a_token_of_the_file_is_somebody() {
  local me
  me=$(k --token alice-token --kubeconfig /dev/null --server "$(server_url)" --insecure-skip-tls-verify auth whoami -o json)
  same "$(jq -c '.status.userInfo|[.username,.uid,.groups]' <<<"$me")" '["alice","uid-1",["devs","ops","system:authenticated"]]'
  refused 'Unauthorized' api -f -H 'Authorization: Bearer wrong' "$(server_url)/api" || true
  same "$(api -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer wrong' "$(server_url)/api")" 401
}

case_impersonation_needs_permission() {
  local asked
  asked=$(api -H 'Authorization: Bearer masters-token' -H 'Impersonate-User: jane' -H 'Impersonate-Group: team' -H 'Impersonate-Uid: 7' -H 'Impersonate-Extra-Dept: it' \
    -H 'Content-Type: application/json' -d '{}' "$(server_url)/apis/authentication.k8s.io/v1/selfsubjectreviews")
  same "$(jq -c .status.userInfo <<<"$asked")" '{"username":"jane","uid":"7","groups":["team","system:authenticated"],"extra":{"dept":["it"]}}'
  has "$(api -H 'Authorization: Bearer alice-token' -H 'Impersonate-User: jane' "$(server_url)/api" | jq -r .message)" 'users "jane" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope'
}

case_nobody_grants_what_he_has_not() {
  k create clusterrole role-maker --verb=create,update,get --resource=clusterroles.rbac.authorization.k8s.io,clusterrolebindings.rbac.authorization.k8s.io
  k create clusterrolebinding role-maker --clusterrole=role-maker --user=alice
  refused 'clusterroles.rbac.authorization.k8s.io "evil" is forbidden: user "alice" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held' \
    k create clusterrole evil --verb=get,list --resource=secrets --as=alice --as-group=devs
  refused '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}' k create clusterrole evil --verb=get,list --resource=secrets --as=alice
  refused 'is attempting to grant RBAC permissions not currently held' k create clusterrolebinding evil --clusterrole=cluster-admin --user=alice --as=alice
  k create clusterrole binder --verb=bind --resource=clusterroles.rbac.authorization.k8s.io --resource-name=view
  k create clusterrolebinding binder --clusterrole=binder --user=alice
  k create clusterrolebinding fine --clusterrole=view --user=bob --as=alice
  k create clusterrole maker-again --verb=get --resource=clusterroles.rbac.authorization.k8s.io --as=alice
}

case_the_audit_log_says_who_did_what() {
  k create configmap seen --from-literal=a=b --as=jane --as-group=system:masters
  refused forbidden k get secret none --as=nobody
  local event
  event=$(grep '"name":"seen"' "$work/etc/audit.log" | head -1)
  same "$(jq -c '[.kind,.apiVersion,.level,.stage,.verb,.user.username,.impersonatedUser.username,.objectRef.resource,.responseStatus.code,.requestObject.data.a,.responseObject.data.a]' <<<"$event")" \
    '["Event","audit.k8s.io/v1","RequestResponse","ResponseComplete","create","kubernetes-admin","jane","configmaps",201,"b","b"]'
  same "$(grep nobody "$work/etc/audit.log" | tail -1 | jq -c '[.level,.annotations["authorization.k8s.io/decision"],.responseStatus.code,.responseStatus.reason]')" '["Metadata","forbid",403,"Forbidden"]'
  ! grep -q RequestReceived "$work/etc/audit.log"
}

case_parts_of_the_process_are_in_the_audit_log() {
  k create namespace audited
  eventually 10 k get serviceaccount default -n audited
  local event
  event=$(grep '"namespace":"audited"' "$work/etc/audit.log" | grep serviceaccounts | head -1)
  same "$(jq -c '[.level,.stage,.verb,.user.username,.requestURI,.objectRef.resource,.objectRef.name,.responseStatus.code,.requestObject.metadata.name,.responseObject,.annotations["authorization.k8s.io/decision"]]' <<<"$event")" \
    '["Request","ResponseComplete","create","system:kube-controller-manager","/api/v1/namespaces/audited/serviceaccounts","serviceaccounts","default",201,"default",null,"allow"]'
  ! grep -q 'system:kube-scheduler' "$work/etc/audit.log"
}

case_secrets_are_encrypted_in_the_database() {
  k create secret generic hidden --from-literal=word=unmistakable
  k create configmap shown --from-literal=word=plainly-readable
  database_has "$(printf plainly-readable)" || complain "the configmap is not in the database"
  ! database_has "$(printf unmistakable | base64)" || complain "the secret is readable"
  database_has 'k8s:enc:aesgcm:v1:one:'
  same "$(field secret/hidden '{.data.word}' | base64 -d)" unmistakable
}

case_keys_rotate_without_a_restart() {
  local first second
  first=$(head -c 32 /dev/zero | base64) second=$(head -c 32 /dev/urandom | base64)
  write_encryption two "$second" "{name: one, secret: $first}"
  eventually 10 grep -q 'encryption configuration read again' "$state/node1/kcube.log"
  k get secrets -A -o json | k replace -f - >/dev/null
  database_has 'k8s:enc:aesgcm:v1:two:'
  write_encryption two "$second"
  same "$(field secret/hidden '{.data.word}' | base64 -d)" unmistakable
}

case_without_its_key_the_database_stays_closed() {
  kcube down
  refused 'is encrypted: give --encryption-provider-config' on_host 1 timeout 20 "$kcube" --data-dir "$state/node1" server --disable-agent --node-ip 10.99.0.1
  kcube up --quiet --disable-agent
  same "$(field secret/hidden '{.data.word}' | base64 -d)" unmistakable
}

case_a_token_in_a_secret_is_that_of_its_account() {
  k create serviceaccount robot
  k apply -f - <<'Y'
apiVersion: v1
kind: Secret
metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
Y
  eventually 10 matches_field secret/robot-token '{.data.token}' '^.{100,}'
  local token
  token=$(field secret/robot-token '{.data.token}' | base64 -d)
  has "$(api -H "Authorization: Bearer $token" "$(server_url)/apis/authentication.k8s.io/v1/selfsubjectreviews" -H 'Content-Type: application/json' -d '{}')" '"username":"system:serviceaccount:default:robot"'
  k delete serviceaccount robot
  eventually 10 refused 'not found' k get secret robot-token
  same "$(api -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" "$(server_url)/api")" 401
}

matches_field() { matches "$(field "$1" "$2")" "$3"; }

case_the_issuer_publishes_every_key() {
  same "$(k get --raw /openid/v1/jwks | jq '.keys|length')" 2
  has "$(k get --raw /.well-known/openid-configuration)" '"id_token_signing_alg_values_supported":["ES256"]'
}

case_an_aggregator_in_front_is_believed() {
  local tls=$state/node1/server/tls
  local front=(--cert "$tls/front-proxy-client.crt" --key "$tls/front-proxy-client.key")
  local asked
  asked=$(api "${front[@]}" -H 'X-Remote-User: front' -H 'X-Remote-Group: g1' -H 'X-Remote-Extra-Dept: it' -H 'Content-Type: application/json' -d '{}' "$(server_url)/apis/authentication.k8s.io/v1/selfsubjectreviews")
  same "$(jq -c .status.userInfo <<<"$asked")" '{"username":"front","groups":["g1","system:authenticated"],"extra":{"dept":["it"]}}'
  same "$(api -o /dev/null -w '%{http_code}' "${front[@]}" "$(server_url)/api")" 401
  has "$(api -H 'X-Remote-User: root' -H 'X-Remote-Group: system:masters' "$(server_url)/api/v1/nodes")" 'system:anonymous'
}

case_a_bad_file_is_one_line() {
  echo 'kind: Nonsense' > "$work/etc/bad.yaml"
  refused 'kcube: --audit-policy-file: expected a Policy of audit.k8s.io/v1' on_host 1 "$kcube" --data-dir "$work/bad" server --disable-agent --audit-policy-file "$work/etc/bad.yaml"
  refused 'kcube: --authorization-mode: "Magic" is not a valid mode' on_host 1 "$kcube" --data-dir "$work/bad" server --disable-agent --authorization-mode Node,Magic
  refused 'kcube: unknown flag of the API server: --no-such' on_host 1 "$kcube" --data-dir "$work/bad" server --disable-agent --kube-apiserver-arg=no-such=1
  has "$(kcube server --help)" --oidc-issuer-url
}
