#!/usr/bin/env python3
"""Puts the same requests to servers and compares what they answer, without what must differ.

usage: tests/differential/run.py --server NAME=URL[,CERT,KEY | ,TOKEN] [--server …] [--expected FILE [--record]] [FILTER]

With two servers their answers are compared; with one and --expected, its answers and the recorded ones. --record writes
FILE from the first server. FILTER is a part of "RESOURCE: CASE". tests/differential/disagreements lists cases that may
differ, each with its reason; they count apart. Ends with the number of cases that agree and `N passed, M failed`.
"""
import argparse
import base64
import copy
import http.client
import json
import os
import re
import ssl
import sys
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
NAMESPACE = 'diff'
CONTEXT_LIMIT = 4000


class Api:
    """One server."""

    def __init__(self, text):
        self.name, rest = text.split('=', 1)
        url, *credentials = rest.split(',')
        where = urllib.parse.urlparse(url)
        context = ssl._create_unverified_context()
        self.headers = {}
        if len(credentials) == 2:
            context.load_cert_chain(*credentials)
        elif credentials:
            self.headers['Authorization'] = 'Bearer ' + credentials[0]
        self.connection = http.client.HTTPSConnection(where.hostname, where.port, context=context, timeout=30)

    def ask(self, method, path, body=None, headers=None):
        """(status, content type, text, warnings)."""
        headers = {**self.headers, **({'Content-Type': 'application/json'} if body is not None else {}), **(headers or {})}
        for attempt in (1, 2):
            try:
                self.connection.request(method, path, body, headers)
                response = self.connection.getresponse()
                text = response.read().decode('utf-8', 'replace')
                break
            except (http.client.HTTPException, ConnectionError):
                self.connection.close()
                if attempt == 2:
                    raise
        return response.status, (response.getheader('Content-Type') or '').split(';')[0], text, response.headers.get_all('Warning') or []

    def value(self, method, path, body=None, headers=None):
        status, _, text, _ = self.ask(method, path, None if body is None else json.dumps(body), headers)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, None


def edit(value, path, new):
    """Sets (null: removes) what stands at a.b.c."""
    *parents, last = path.split('.')
    for part in parents:
        value = value.setdefault(part, {})
    if new is None:
        value.pop(last, None)
    else:
        value[last] = new


class Sample:
    """One resource and a valid object of it."""

    def __init__(self, line):
        data = json.loads(line)
        self.at, self.cluster = data['at'], data.get('cluster', False)
        self.name = data.get('name') or 'sample'
        self.object = data['object']
        metadata = {'name': self.name, 'labels': {'diff': 'yes'}}
        if not self.cluster:
            metadata['namespace'] = NAMESPACE
        self.object['metadata'] = metadata
        group_version, self.resource = self.at.rsplit('/', 1)
        root = ('/api/' if group_version == 'v1' else '/apis/') + group_version
        self.collection = root + ('/' if self.cluster else f'/namespaces/{NAMESPACE}/') + self.resource
        self.item = f'{self.collection}/{self.name}'

    def fill(self, text):
        for key, value in (('$collection', self.collection), ('$item', self.item), ('$name', self.name), ('$kind', self.object['kind']),
                           ('$apiVersion', self.object['apiVersion'])):
            text = text.replace(key, value)
        return text

    def remove(self, api):
        """Whatever holds it."""
        for _ in range(3):
            status, value = api.value('GET', self.item)
            if status == 404:
                return
            merge = {'Content-Type': 'application/merge-patch+json'}
            api.value('PATCH', self.item, {'metadata': {'finalizers': None}}, merge)
            api.value('DELETE', self.item + '?gracePeriodSeconds=0&propagationPolicy=Background')
            api.value('PATCH', self.item, {'metadata': {'finalizers': None}}, merge)
            if self.resource == 'namespaces':
                status, value = api.value('GET', self.item)
                if status == 200:
                    value['spec'] = {}
                    api.value('PUT', self.item + '/finalize', value)


class Case:
    def __init__(self, name, existing, requests):
        self.name, self.existing, self.requests = name, existing, requests


def read_cases(path):
    cases = []
    for block in re.split(r'^== ', '\n'.join(l for l in open(path).read().split('\n') if not l.startswith('#')), flags=re.M)[1:]:
        head, _, rest = block.partition('\n')
        name, *flags = [part.strip() for part in head.split('|')]
        cases.append(Case(name, 'existing' in flags, [r.strip('\n').split('\n') for r in re.split(r'^--$', rest, flags=re.M)]))
    return cases


class Recording:
    """Answers of one server, in a file: each text once, the words of the sample in it as placeholders."""

    def __init__(self):
        self.texts, self.cases = [], {}

    @staticmethod
    def _general(sample, text):
        return text.replace(sample.resource, '$resource').replace(sample.object['kind'], '$kind')

    @staticmethod
    def _particular(sample, text):
        return text.replace('$resource', sample.resource).replace('$kind', sample.object['kind'])

    def write(self, path, answers):
        numbers = {}
        with open(path, 'w') as out:
            for name, sample, texts in answers:
                row = []
                for text in texts:
                    general = self._general(sample, text)
                    if self._particular(sample, general) != text:
                        general = text
                    if general not in numbers:
                        numbers[general] = len(numbers)
                        out.write(json.dumps(general, ensure_ascii=False) + '\n')
                    row.append(numbers[general])
                out.write(json.dumps([name, *row], ensure_ascii=False) + '\n')

    @classmethod
    def read(cls, path):
        self = cls()
        for line in open(path):
            value = json.loads(line)
            if isinstance(value, str):
                self.texts.append(value)
            else:
                self.cases[value[0]] = value[1:]
        return self

    def answers(self, sample, name):
        if name not in self.cases:
            return ['nothing recorded']
        return [self._particular(sample, self.texts[number]) for number in self.cases[name]]


def put(api, sample, lines):
    """One request of a case."""
    method, path = sample.fill(lines[0]).split(' ', 1)
    headers, body, edits = {}, None, []
    for line in lines[1:]:
        if line.startswith('body '):
            body = sample.fill(line[5:])
        elif line == 'object':
            edits.append(None)
        elif line.startswith('with '):
            edits.append(line[5:].split('=', 1))
        elif ': ' in line:
            headers.update([line.split(': ', 1)])
    if edits:
        value = copy.deepcopy(sample.object)
        for change in filter(None, edits):
            edit(value, change[0], json.loads(change[1]))
        body = json.dumps(value)
    return api.ask(method, path, body, headers)


MASKED = {'uid', 'resourceVersion', 'creationTimestamp', 'deletionTimestamp', 'lastTransitionTime', 'clusterIP', 'clusterIPs', 'nodePort',
          'continue', 'remainingItemCount', 'lastUpdateTime', 'lastProbeTime', 'certificate', 'startTime', 'lastPhaseTransitionTime'}
UID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')


def mask(value, key=''):
    if isinstance(value, dict):
        if value.get('kind') == 'Table':
            value = {**value, 'rows': [mask_row(row, value['columnDefinitions']) for row in value.get('rows') or []],
                     'columnDefinitions': [{**column, 'description': '*'} for column in value['columnDefinitions']]}
        return {k: '*' if k in MASKED and v not in ('', 'None', None) else mask(v, k) for k, v in value.items() if k != 'managedFields'}
    if isinstance(value, list):
        return [mask(v) for v in value]
    if isinstance(value, str):
        value = UID.sub('*', value)
        value = re.sub(r'current: \d+', 'current: *', value)
        value = re.sub(r'kube-api-access-[a-z0-9]{5}', 'kube-api-access-*', value)
        value = re.sub(r'Key: [^,]*', 'Key: *', value)
        value = re.sub(r'in scheme "[^"]*"', 'in scheme "*"', value)
        value = re.sub(r'in record \(\d+\)', 'in record (*)', value)
        value = re.sub(r'gen-[a-z0-9]{5}\b', 'gen-*', value)
    return value


def mask_row(row, columns):
    cells = ['*' if column['name'] in ('Age', 'Cluster-IP', 'Last Seen', 'First Seen', 'Created At') else cell for column, cell in zip(columns, row['cells'])]
    return {**row, 'cells': cells}


def answer(api, sample, lines):
    status, kind, text, warnings = put(api, sample, lines)
    try:
        body = json.dumps(mask(json.loads(text)), sort_keys=True)
    except ValueError:
        body = text[:300]
    said = ''.join(f' warning={w}' for w in warnings)
    return f'{status} {kind}{said} {body}'


def run_case(api, sample, case):
    sample.remove(api)
    if case.existing:
        api.value('POST', sample.collection, sample.object)
    answers = [answer(api, sample, lines) for lines in case.requests]
    sample.remove(api)
    return answers


def prepare(api):
    api.value('POST', '/api/v1/namespaces', {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': NAMESPACE}})
    api.value('POST', f'/api/v1/namespaces/{NAMESPACE}/serviceaccounts', {'apiVersion': 'v1', 'kind': 'ServiceAccount', 'metadata': {'name': 'default'}})


def shorten(text):
    return text if len(text) <= CONTEXT_LIMIT else text[:CONTEXT_LIMIT] + '…'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--server', action='append', required=True)
    parser.add_argument('--expected')
    parser.add_argument('--record', action='store_true')
    parser.add_argument('--quiet', action='store_true')
    parser.add_argument('filter', nargs='?', default='')
    options = parser.parse_args()
    apis = [Api(text) for text in options.server]
    for api in apis:
        prepare(api)
    samples = [Sample(line) for line in open(os.path.join(HERE, 'samples.jsonl')) if line.strip()]
    cases = read_cases(os.path.join(HERE, 'every_resource.cases'))
    excused = {}
    for line in open(os.path.join(HERE, 'disagreements')):
        if line.strip() and not line.startswith('#'):
            name, _, reason = line.rstrip('\n').partition(' -- ')
            excused[name] = reason
    recorded = Recording.read(options.expected) if options.expected and not options.record else None
    agree = differ = allowed = 0
    answers = []
    for sample in samples:
        for case in cases:
            name = f'{sample.at}: {case.name}'
            if options.filter not in name:
                continue
            sides = [(api.name, run_case(api, sample, case)) for api in apis]
            if options.record:
                answers.append((name, sample, sides[0][1]))
                continue
            if len(sides) == 1:
                sides.insert(0, ('recorded', recorded.answers(sample, name)))
            if sides[0][1] == sides[1][1]:
                agree += 1
                continue
            patterns = (name, f'*: {case.name}', f'{sample.at}: *')
            if any(p in excused for p in patterns):
                allowed += 1
                continue
            differ += 1
            if not options.quiet:
                print(f'FAIL {name}')
                for index, pair in enumerate(zip(sides[0][1], sides[1][1])):
                    if pair[0] != pair[1]:
                        for (side, _), text in zip(sides, pair):
                            print(f'  {index + 1} {side}: {shorten(text)}')
            else:
                print(f'FAIL {name}')
    if options.record:
        return Recording().write(options.expected, answers)
    print(f'{agree} of {agree + differ + allowed} cases agree, {allowed} differ for a reason that is written down')
    print(f'{agree + allowed} passed, {differ} failed')
    sys.exit(1 if differ else 0)


if __name__ == '__main__':
    main()
