# Expressions in the configuration files of identity: claims that become users, conditions of a webhook that decides.
source "$root/tests/e2e/identity_lib.sh"

setup() {
  make_outside_keys
  webhook_kubeconfig access > "$work/etc/access.conf"
  cat > "$work/etc/authentication.yaml" <<Y
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://10.99.0.1:7444
    audiences: [kcube]
    certificateAuthority: |
$(sed 's/^/      /' "$work/etc/tls.crt")
  claimMappings:
    username: {expression: '"idp:" + claims.name'}
    groups: {expression: 'claims.teams.map(t, "team-" + t)'}
    uid: {expression: claims.name}
    extra: [{key: example.com/level, valueExpression: claims.level}]
  claimValidationRules: [{expression: 'claims.level in ["high", "highest"]', message: nobody so low}]
  userValidationRules: [{expression: '!user.username.contains("root")', message: nobody so great}]
Y
  cat > "$work/etc/authorization.yaml" <<Y
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: hook
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: $work/etc/access.conf}
    matchConditions:
    - expression: has(request.resourceAttributes)
    - expression: request.resourceAttributes.namespace == "guarded"
- {type: RBAC, name: rbac}
Y
  start_cluster -- --disable-agent --authentication-config "$work/etc/authentication.yaml" --authorization-config "$work/etc/authorization.yaml"
  start_outside
}

teardown() { stop_outside; }

case_claims_become_a_user() {
  k create clusterrolebinding blue --clusterrole=cluster-admin --group=team-blue
  same "$(whoami "$(make_token)" | jq -cS .status.userInfo)" '{"extra":{"example.com/level":["high"]},"groups":["team-blue","team-red","system:authenticated"],"uid":"carol","username":"idp:carol"}'
}

case_rules_refuse_tokens() {
  same "$(code_of "$(make_token '{level:"low"}')" /api)" 401
  same "$(code_of "$(make_token '{name:"root"}')" /api)" 401
  same "$(code_of "$(make_token '{teams:3}')" /api)" 401
  same "$(code_of "$(make_token '{level:"highest"}')" /api)" 200
}

case_a_webhook_is_asked_what_its_conditions_let_through() {
  k create namespace guarded
  same "$(code_of "$(make_token)" /api/v1/namespaces/default/pods/secret-name)" 404
  same "$(code_of "$(make_token)" /api/v1/namespaces/guarded/pods/secret-name)" 403
  same "$(grep -c '"namespace": "default"' "$work/asked" || true)" 0
}
