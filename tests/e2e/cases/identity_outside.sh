# Identity that comes from outside: an OpenID Connect issuer and webhooks for tokens, access and audit events.
source "$root/tests/e2e/identity_lib.sh"

setup() {
  make_outside_keys
  for hook in token access audit images; do webhook_kubeconfig $hook > "$work/etc/$hook.conf"; done
  echo '{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"oidc:carol","namespace":"*","resource":"pods","apiGroup":"*","readonly":true}}' > "$work/etc/abac.jsonl"
  printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, users: ["oidc:carol"]}]\n' > "$work/etc/policy.yaml"
  printf 'apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: [{name: ImagePolicyWebhook, configuration: {imagePolicy: {kubeConfigFile: %s, allowTTL: 30, denyTTL: 30, defaultAllow: false}}}]\n' "$work/etc/images.conf" > "$work/etc/admission.yaml"
  start_cluster -- --disable-agent --enable-admission-plugins ImagePolicyWebhook,NamespaceExists --disable-admission-plugins NamespaceLifecycle --admission-control-config-file "$work/etc/admission.yaml" --oidc-issuer-url https://10.99.0.1:7444 --oidc-client-id kcube --oidc-ca-file "$work/etc/tls.crt" --oidc-username-claim name --oidc-username-prefix oidc: \
    --oidc-groups-claim teams --oidc-groups-prefix oidc: --oidc-required-claim level=high --authentication-token-webhook-config-file "$work/etc/token.conf" --authentication-token-webhook-version v1 \
    --authorization-mode Node,Webhook,RBAC,ABAC --authorization-webhook-config-file "$work/etc/access.conf" --authorization-webhook-version v1 --authorization-policy-file "$work/etc/abac.jsonl" \
    --audit-policy-file "$work/etc/policy.yaml" --audit-webhook-config-file "$work/etc/audit.conf" --kube-apiserver-arg=anonymous-auth=false
  start_outside
}

teardown() { stop_outside; }

case_a_token_of_the_issuer_is_believed() {
  k create clusterrolebinding reviews --clusterrole=system:basic-user --group=oidc:blue --group=hook-users
  same "$(whoami "$(make_token)" | jq -c .status.userInfo)" '{"username":"oidc:carol","groups":["oidc:blue","oidc:red","system:authenticated"]}'
}

case_other_tokens_are_not() {
  openssl genrsa -out "$work/etc/other.key" 2048
  same "$(code_of "$(make_token '{aud:"other"}')" /api)" 401
  same "$(code_of "$(make_token '{exp:1}')" /api)" 401
  same "$(code_of "$(make_token '{level:"low"}')" /api)" 401
  same "$(code_of "$(make_token '{iss:"https://evil.example"}')" /api)" 401
  same "$(code_of "$(make_token '{}' "$work/etc/other.key")" /api)" 401
}

case_nobody_without_credentials() {
  same "$(api -o /dev/null -w '%{http_code}' "$(server_url)/version")" 401
  same "$(k get --raw /readyz)" ok
  has "$(api "$(server_url)/cacerts")" CERTIFICATE
  has "$(k auth can-i --list --as=someone 2>&1)" 'webhook authorizer does not support user rule resolution'
}

case_a_webhook_knows_tokens() {
  same "$(whoami hook-token | jq -c .status.userInfo)" '{"username":"wanda","uid":"w1","groups":["hook-users","system:authenticated"],"extra":{"via":["hook"]}}'
  local asked
  asked=$(grep -c '^/token .*hook-token' "$work/asked")
  whoami hook-token >/dev/null
  same "$(grep -c '^/token .*hook-token' "$work/asked")" "$asked"
}

case_a_webhook_decides() {
  same "$(code_of hook-token /api/v1/namespaces/default/configmaps)" 200
  same "$(code_of hook-token /api/v1/namespaces/default/pods)" 403
  has "$(as_token hook-token /api/v1/namespaces/default/pods)" 'the hook says so'
  k create clusterrolebinding wanda --clusterrole=cluster-admin --user=wanda
  same "$(code_of hook-token /api/v1/namespaces/default/pods)" 200
  same "$(code_of hook-token /api/v1/namespaces/default/pods/secret-name)" 403
  as_token hook-token '/api/v1/namespaces/default/services?labelSelector=app%20in%20(a,b)&fieldSelector=metadata.namespace!%3Dx' >/dev/null
  has "$(grep '"services"' "$work/asked")" '"labelSelector": {"requirements": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}'
}

case_an_abac_policy_allows() {
  same "$(code_of "$(make_token)" /api/v1/pods)" 200
  same "$(code_of "$(make_token)" /api/v1/services)" 403
}

case_a_token_review_tells_the_audiences() {
  local token review
  token=$(k create token default)
  review=$(jq -cn --arg t "$token" '{apiVersion:"authentication.k8s.io/v1",kind:"TokenReview",spec:{token:$t,audiences:["other","https://kubernetes.default.svc.cluster.local"]}}' | k create -f - -o json)
  same "$(jq -c '[.status.authenticated,.status.audiences,.status.user.username]' <<<"$review")" '[true,["https://kubernetes.default.svc.cluster.local"],"system:serviceaccount:default:default"]'
}

# image_pod NAME IMAGE
image_pod() { printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s, annotations: {ours.image-policy.k8s.io/ticket: "7", other: x}}\nspec: {containers: [{name: c, image: "%s"}]}\n' "$1" "$2"; }

case_a_webhook_judges_images() {
  eventually 10 k get serviceaccount default
  k create -f - <<<"$(image_pod fine good:1)"
  has "$(k create -f - <<<"$(image_pod bad evil:1)" 2>&1 || true)" 'pods "bad" is forbidden: image policy webhook backend denied one or more images: evil is not for us'
  same "$(grep '^/images' "$work/asked" | grep -c good:1)" 1
  has "$(grep '^/images' "$work/asked" | head -1)" '"spec": {"containers": [{"image": "good:1"}], "annotations": {"ours.image-policy.k8s.io/ticket": "7"}, "namespace": "default"}'
  # What it said is remembered.
  k create -f - <<<"$(image_pod again good:1)"
  has "$(k create -f - <<<"$(image_pod bad evil:1)" 2>&1 || true)" 'evil is not for us'
  same "$(grep -c '^/images' "$work/asked")" 2
  # Another image is another question; a status is none.
  k patch pod fine --type=merge -p '{"metadata":{"labels":{"a":"b"}}}'
  has "$(k set image pod/fine c=evil:2 2>&1 || true)" 'evil is not for us'
}

case_a_namespace_must_exist() {
  refused 'namespaces "nowhere" not found' k create configmap a -n nowhere
  refused 'namespaces "nowhere" not found' k create configmap a -n nowhere --dry-run=server
  k create namespace somewhere
  k create configmap a -n somewhere
}

case_a_webhook_gets_audit_events() {
  kcube down
  eventually 10 grep -q '"stage": "ResponseComplete"' "$work/events"
  same "$(head -1 "$work/events" | jq -c '[.level,.user.username]')" '["Metadata","oidc:carol"]'
}
