"""What must differ between two servers, and is taken out before their answers are compared."""
import json
import re

MASKED = {'uid', 'resourceVersion', 'creationTimestamp', 'deletionTimestamp', 'lastTransitionTime', 'clusterIP', 'clusterIPs', 'nodePort',
          'continue', 'remainingItemCount', 'healthCheckNodePort', 'lastUpdateTime', 'lastProbeTime', 'certificate', 'startTime', 'lastPhaseTransitionTime', 'time'}
UID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')
SUBSTITUTIONS = [(UID, '*')] + [(re.compile(a), b) for a, b in (
    (r'current: \d+', 'current: *'),
    (r'kube-api-access-[a-z0-9]{5}', 'kube-api-access-*'),
    (r'Key: [^,]*', 'Key: *'),
    (r'in scheme "[^"]*"', 'in scheme "*"'),
    (r'in record \(\d+\)', 'in record (*)'),
    (r'in object meta: \d+', 'in object meta: *'),
    (r'gen-[a-z0-9]{5}\b', 'gen-*'),
    (r'\bGen-[a-z0-9]{5}\b', 'Gen-*'),
    (r'\b(a b|x{58})[a-z0-9]{5}\b', r'\1*'),
    (r'\b(\w*(?:Time|Timestamp|time)): "\d{4}-[^"]*"', r'\1: "*"'),   # in YAML
    (r'(\n *(?:uid|resourceVersion)): \S+', r'\1: *'),
    (r'IPAddress.networking.k8s.io "[0-9.]+"', 'IPAddress.networking.k8s.io "*"'),
    (r'10\.43\.\d+\.\d+', '10.43.*'),
    # A patched object as a whole.
    (r'(?s)Invalid value: "(\{\\?"|map\[).*[}\]]": ', 'Invalid value: *: '),
    (r"(?s)(Object 'Kind' is missing in ').*", r'\1*'),
    # What was changed, as Go prints its own structs.
    (r'(?s)(if it was previously negative\)\n).*', r'\1*'),
    (r'(?s)(existing ephemeral containers "[^"]*" may not be changed\n).*', r'\1*'),
    (r'(?s)(volumeAttributesClassName for bound claims\n).*', r'\1*'),
    (r'(?s)(spec.persistentvolumesource is immutable after creation\n).*', r'\1*'),
)]
# A value as Go's internal types have it: capital letters, and members that no version has.
INTERNAL = re.compile(r'(?:Invalid|Duplicate|Unsupported) value: (\{"[A-Za-z]|\[\{"[A-Za-z])')


def text(value):
    for pattern, with_what in SUBSTITUTIONS:
        value = pattern.sub(with_what, value)
    # A long value is shown in the internal form of kube-apiserver: that something is shown is compared, what is not.
    while (match := INTERNAL.search(value)):
        start = match.end(1) - len(match.group(1))
        try:
            _, end = json.JSONDecoder().raw_decode(value, start)
        except ValueError:
            break
        value = value[:start] + '*' + value[end:]
    return value


def value(v, managed=False, key=''):
    if isinstance(v, dict):
        if v.get('kind') == 'Status':
            v = status(v)
        if 'gitVersion' in v:   # another program says which it is
            v = {k: '*' if k in ('buildDate', 'compiler', 'gitCommit', 'gitTreeState', 'gitVersion', 'goVersion', 'platform') else x for k, x in v.items()}
        if 'jwks_uri' in v:
            v = {**v, 'jwks_uri': '*', 'id_token_signing_alg_values_supported': '*'}   # keys are each server's own
        if 'serverAddressByClientCIDRs' in v:
            v = {**v, 'serverAddressByClientCIDRs': '*'}
        if v.get('kind') == 'SelfSubjectRulesReview' and 'status' in v:   # Go goes through the bindings in any order
            v = {**v, 'status': {k: sorted(x, key=lambda rule: json.dumps(rule, sort_keys=True)) if isinstance(x, list) else x for k, x in v['status'].items()}}
        if v.get('kind') == 'SubjectAccessReview' and (v.get('status') or {}).get('reason', '').endswith('to Group "system:authenticated"'):
            v = {**v, 'status': {**v['status'], 'reason': 'RBAC: allowed by *'}}   # the first binding that it comes upon
        if v.get('kind') == 'Table':
            v = {**v, 'rows': [row(r, v['columnDefinitions'] or []) for r in v.get('rows') or []],
                 'columnDefinitions': [{**column, 'description': '*'} for column in v['columnDefinitions'] or []]}
        if 'groupPriorityMinimum' in (v.get('spec') or {}):
            v = {k: x for k, x in v.items() if k != 'status'}   # a controller finds that out in its own time
        return {k: '*' if k in MASKED and x not in ('', 'None', None) else value(x, managed, k) for k, x in v.items() if managed or k != 'managedFields'}
    if isinstance(v, list):
        made = [value(x, managed) for x in v]
        # They come by the second in which they were written.
        return sorted(made, key=lambda entry: json.dumps(entry, sort_keys=True)) if key == 'managedFields' else made
    return text(v) if isinstance(v, str) else v


def status(v):
    """Go goes through maps in any order: causes about one field come sorted. How often one is repeated is not compared: once
    for each of the places that look."""
    details = v.get('details') or {}
    causes = details.get('causes') or []
    if len(causes) < 2:
        return v
    if v.get('reason') == 'Conflict':   # of managers, one after the other
        return {**v, 'details': {**details, 'causes': sorted(causes, key=lambda c: json.dumps(c, sort_keys=True))}}
    shown = lambda cs: ', '.join(f"{c['field']}: {c['message']}" if c.get('field') else c.get('message', '') for c in cs)
    inside = f'[{shown(causes)}]'
    ordered, run = [], []
    for cause in causes + [None]:
        if run and (cause is None or cause.get('field') != run[0].get('field')):
            run.sort(key=lambda c: c.get('message', ''))
            ordered += [c for i, c in enumerate(run) if i == 0 or c != run[i - 1]]
            run = []
        if cause is not None:
            run.append(cause)
    said = v.get('message', '')
    unique = [c for i, c in enumerate(causes) if c not in causes[:i]]
    for inside in (inside, f'[{shown(unique)}]'):
        said = said.replace(inside, f'[{shown(ordered)}]')
    return {**v, 'message': said, 'details': {**details, 'causes': ordered}}


def row(r, columns):
    cells = ['*' if column['name'] in ('Age', 'Cluster-IP', 'Last Seen', 'First Seen', 'Created At') else cell for column, cell in zip(columns, r['cells'])]
    if any(column['name'] == 'Available' and column['type'] == 'string' for column in columns) and len(columns) == 4:
        cells[2] = '*'
    return {**r, 'cells': cells}
