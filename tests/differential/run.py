#!/usr/bin/env python3
"""Puts the same requests to servers and compares what they answer, without what must differ.

usage: tests/differential/run.py --server NAME=URL[,CERT,KEY | ,TOKEN] [--server …] [--expected FILE [--record]] [FILTER]

With two servers their answers are compared; with one and --expected, its answers and the recorded ones. --record writes
FILE from the first server, of the cases of FILTER alone when there is one. FILTER is a part of a case's name. What is asked: every_resource.cases and the edits of
mutations.py once for each line of samples.jsonl, and topics/*.cases once (README.md says how they are written).

`disagreements` lists the cases that differ, each with its reason. A case that differs and is not listed fails, and so does
one that is listed and agrees. Ends with the number of answers that agree and `N passed, M failed` (cases).
"""
import argparse
import concurrent.futures
import copy
import fnmatch
import glob
import http.client
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse

import masks
import mutations

HERE = os.path.dirname(os.path.abspath(__file__))
CONTEXT_LIMIT = 4000
WORKERS = 6


class Api:
    """One server. Each thread has a connection of its own."""

    def __init__(self, text):
        self.name, rest = text.split('=', 1)
        url, *credentials = rest.split(',')
        self.where = urllib.parse.urlparse(url)
        self.context = ssl._create_unverified_context()
        self.headers = {}
        if len(credentials) == 2:
            self.context.load_cert_chain(*credentials)
        elif credentials:
            self.headers['Authorization'] = 'Bearer ' + credentials[0]
        self.local = threading.local()

    def connect(self):
        return http.client.HTTPSConnection(self.where.hostname, self.where.port, context=self.context, timeout=30)

    def connection(self):
        if not hasattr(self.local, 'connection'):
            self.local.connection = self.connect()
        return self.local.connection

    def ask(self, method, path, body=None, headers=None):
        """(status, content type, text, warnings)."""
        headers = {**self.headers, **({'Content-Type': 'application/json'} if body is not None else {}), **(headers or {})}
        body = body.encode() if isinstance(body, str) else body
        for attempt in (1, 2):
            connection = self.connection()
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                text = response.read().decode('utf-8', 'replace')
                break
            except (http.client.HTTPException, ConnectionError):
                connection.close()
                if attempt == 2:
                    raise
        return response.status, (response.getheader('Content-Type') or '').split(';')[0], text, response.headers.get_all('Warning') or []

    def events(self, path, headers, count):
        """The first events of a watch, or what is said instead of one."""
        connection = self.connect()
        try:
            connection.request('GET', path, headers={**self.headers, **headers})
            response = connection.getresponse()
            lines = []
            while len(lines) < count and (line := response.readline()):
                lines.append(line.decode('utf-8', 'replace'))
            return response.status, (response.getheader('Content-Type') or '').split(';')[0], lines, response.headers.get_all('Warning') or []
        finally:
            connection.close()

    def value(self, method, path, body=None, headers=None):
        status, _, text, _ = self.ask(method, path, None if body is None else json.dumps(body), headers)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, None


def edit(value, path, new):
    """Sets (null: removes) what stands at a.b.c; a number is an item of a list."""
    *parents, last = [int(p) if p.isdigit() else p for p in path.split('.')]
    for part in parents:
        if isinstance(value, list):
            while len(value) <= part:
                value.append({})
            value = value[part]
        else:
            value = value.setdefault(part, {})
    if isinstance(value, list):
        if new is None:
            del value[last]
        elif last == len(value):
            value.append(new)
        else:
            value[last] = new
    elif new is None:
        value.pop(last, None)
    else:
        value[last] = new


class Sample:
    """One resource and a valid object of it, in a namespace of its own."""

    def __init__(self, line):
        data = json.loads(line)
        self.at, self.cluster = data['at'], data.get('cluster', False)
        self.name = data.get('name') or 'sample'
        self.object = json.loads(json.dumps(data['object']).replace('"namespace": "diff"', '"namespace": "diff-' + self.at.rsplit('/', 1)[1] + '"'))
        group_version, self.resource = self.at.rsplit('/', 1)
        self.namespace = 'diff-' + self.resource
        metadata = {'name': self.name, 'labels': {'diff': 'yes'}}
        if not self.cluster:
            metadata['namespace'] = self.namespace
        self.object['metadata'] = metadata
        root = ('/api/' if group_version == 'v1' else '/apis/') + group_version
        self.collection = root + ('/' if self.cluster else f'/namespaces/{self.namespace}/') + self.resource
        self.item = f'{self.collection}/{self.name}'
        self.kind = self.object['kind']

    def fill(self, text):
        for key, value in (('$collection', self.collection), ('$item', self.item), ('$name', self.name), ('$kind', self.kind),
                           ('$apiVersion', self.object['apiVersion'])):
            text = text.replace(key, value)
        return text

    def general(self, text):
        return text.replace(self.resource, '$resource').replace(self.kind, '$kind')

    def particular(self, text):
        return text.replace('$resource', self.resource).replace('$kind', self.kind)

    def prepare(self, api):
        make_namespace(api, self.namespace)

    def remove(self, api, others):
        """Whatever holds it; others: what else a case made."""
        if others and self.resource != 'namespaces':
            _, found = api.value('GET', self.collection + '?labelSelector=diff%3Dyes')
            for item in (found or {}).get('items') or []:
                if item['metadata']['name'] != self.name:
                    api.value('DELETE', f"{self.collection}/{item['metadata']['name']}?gracePeriodSeconds=0")
        for _ in range(3):
            status, value = api.value('GET', self.item)
            if status == 404:
                return
            merge = {'Content-Type': 'application/merge-patch+json'}
            if value and value['metadata'].get('finalizers'):
                api.value('PATCH', self.item, {'metadata': {'finalizers': None}}, merge)
            api.value('DELETE', self.item + '?gracePeriodSeconds=0&propagationPolicy=Background')
            status, value = api.value('GET', self.item)
            if status == 404:
                return
            api.value('PATCH', self.item, {'metadata': {'finalizers': None}}, merge)
            if self.resource == 'namespaces':
                value['spec'] = {}
                api.value('PUT', self.item + '/finalize', value)


class Topic:
    """What a case of topics/ runs in: a namespace of its own."""
    object = None

    def __init__(self, number, samples):
        self.namespace, self.samples, self.saved = f'topic-{number}', samples, {}

    def fill(self, text):
        text = text.replace('$ns', self.namespace)
        return re.sub(r'\$\{(\w+)\}', lambda m: str(self.saved.get(m.group(1), '')), text)

    def general(self, text):
        return text.replace(self.namespace, '$ns')

    def particular(self, text):
        return text.replace('$ns', self.namespace)

    def prepare(self, api):
        make_namespace(api, self.namespace)


def make_namespace(api, name):
    api.value('POST', '/api/v1/namespaces', {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': name}})
    api.value('POST', f'/api/v1/namespaces/{name}/serviceaccounts', {'apiVersion': 'v1', 'kind': 'ServiceAccount', 'metadata': {'name': 'default'}})


class Case:
    def __init__(self, name, flags, requests):
        self.name, self.flags, self.requests = name, flags, requests


def read_cases(path):
    cases = []
    for block in re.split(r'^== ', '\n'.join(l for l in open(path).read().split('\n') if not l.startswith('#')), flags=re.M)[1:]:
        head, _, rest = block.partition('\n')
        name, *flags = [part.strip() for part in head.split('|')]
        cases.append(Case(name, flags, [r.strip('\n').split('\n') for r in re.split(r'^--$', rest, flags=re.M)]))
    return cases


# What messages repeat at length.
PHRASE = re.compile(r"\(e\.g\. .{10,200}?regex used for validation is '.{5,200}?'\)|must consist of lower case alphanumeric characters.{10,80}?alphanumeric character"
                    r"|must consist of alphanumeric characters.{10,80}?alphanumeric character|pod updates may not change fields other than.{50,400}?negative\)")


class Recording:
    """Answers of one server, in a file: each text once, the words of the sample and long phrases in it as placeholders."""

    def __init__(self):
        self.texts, self.cases = [], {}

    @staticmethod
    def write(path, answers, others=False):
        """`others`: answers that are there already stay, but for these cases."""
        numbers, phrases, kept = {}, {}, []
        if others and os.path.exists(path):
            again = {name for name, _, _ in answers}
            for line in open(path):
                value = json.loads(line)
                if isinstance(value, list) and value[0] in again:
                    continue
                kept.append(line)
                if isinstance(value, dict):
                    phrases.update({phrase: number for number, phrase in value.items()})
                elif isinstance(value, str):
                    numbers[value] = len(numbers)
        with open(path, 'w') as out:
            out.writelines(kept)
            for name, place, texts in answers:
                row = []
                for text in texts:
                    general = place.general(text)
                    if place.particular(general) != text:
                        general = text
                    for phrase in PHRASE.findall(general):
                        if phrase not in phrases:
                            phrases[phrase] = f'\u27e6{len(phrases)}\u27e7'
                            out.write(json.dumps({phrases[phrase]: phrase}, ensure_ascii=False) + '\n')
                    general = PHRASE.sub(lambda m: phrases[m.group()], general)
                    if general not in numbers:
                        numbers[general] = len(numbers)
                        out.write(json.dumps(general, ensure_ascii=False) + '\n')
                    row.append(numbers[general])
                out.write(json.dumps([name, *row], ensure_ascii=False, separators=(',', ':')) + '\n')

    @classmethod
    def read(cls, path):
        self, phrases = cls(), {}
        for line in open(path):
            value = json.loads(line)
            if isinstance(value, dict):
                phrases.update(value)
            elif isinstance(value, str):
                self.texts.append(re.sub('\u27e6\\d+\u27e7', lambda m: phrases[m.group()], value))
            else:
                self.cases[value[0]] = value[1:]
        return self

    def answers(self, place, name):
        return [place.particular(self.texts[number]) for number in self.cases.get(name, [])]


def put(api, place, lines):
    """One request of a case: (status, type, text or events, warnings)."""
    method, path = place.fill(lines[0]).split(' ', 1)
    headers, body, value, events = {}, None, None, 0
    for number, line in enumerate(lines[1:], 1):
        line = place.fill(line)
        if line == 'body:':
            body = place.fill('\n'.join(lines[number + 1:]) + '\n')
            break
        if line.startswith('body '):
            body = line[5:]
        elif line == 'object':
            value = copy.deepcopy(place.object)
        elif line.startswith('object '):
            sample = place.samples[line[7:]]
            value = copy.deepcopy(sample.object)
            if 'namespace' in value['metadata']:
                value['metadata']['namespace'] = place.namespace
        elif line == 'live':
            _, value = api.value('GET', path.split('?')[0])
        elif line.startswith('with '):
            value = copy.deepcopy(place.object) if value is None else value
            where, _, new = line[5:].partition('=')
            edit(value, where, json.loads(new))
        elif line.startswith('events '):
            events = int(line[7:])
        elif ': ' in line:
            headers.update([line.split(': ', 1)])
    if value is not None:
        body = json.dumps(value, separators=(',', ':'))
    return api.events(path, headers, events) if events else api.ask(method, path, body, headers)


def answer(api, place, lines, managed):
    status, kind, text, warnings = put(api, place, lines)
    if 'unseen' in lines[1:]:
        return 'unseen'
    said = ''.join(f' warning={w}' for w in warnings)
    parts = text if isinstance(text, list) else [text]
    bodies = []
    for part in parts:
        try:
            value = json.loads(part)
        except ValueError:
            bodies.append(masks.text(part)[:300])
            continue
        for line in lines[1:]:
            if line.startswith('save '):
                name, _, where = line[5:].partition('=')
                found = value
                for key in where.split('.'):
                    found = found[int(key)] if isinstance(found, list) and len(found) > int(key) else (found or {}).get(key) if isinstance(found, dict) else None
                place.saved[name] = found
        bodies.append(json.dumps(masks.value(value, managed), sort_keys=True, ensure_ascii=False, separators=(',', ':')))
    return f"{status} {kind}{masks.text(said)} {' '.join(bodies)}"


def run_case(api, place, case):
    if isinstance(place, Topic):
        place.prepare(api)
        place.saved.clear()
        return [answer(api, place, lines, True) for lines in case.requests]
    managed = 'managed' in case.flags
    place.remove(api, False)
    if 'existing' in case.flags:
        api.value('POST', place.collection, place.object)
    answers = [answer(api, place, lines, managed) for lines in case.requests]
    place.remove(api, case.name.startswith('create'))
    return answers


def run_mutations(api, sample):
    """[(name, answers)]: one object, and every edit of it, tried without effect."""
    sample.remove(api, False)
    api.value('POST', sample.collection, sample.object)
    _, live = api.value('GET', sample.item)
    for _ in range(100 if sample.resource == 'apiservices' else 0):   # a controller writes its status once
        if live['status'].get('conditions'):
            break
        time.sleep(0.05)
        _, live = api.value('GET', sample.item)
    results = []
    for name, method, value in mutations.of(sample, live or {}):
        path = sample.collection if method == 'POST' else sample.item
        status, kind, text, warnings = api.ask(method, path + '?dryRun=All&fieldValidation=Strict', json.dumps(value, separators=(',', ':')))
        try:
            body = json.dumps(masks.value(json.loads(text), False), sort_keys=True, ensure_ascii=False, separators=(',', ':'))
        except ValueError:
            body = masks.text(text)[:300]
        # What is accepted says little more than that.
        if status < 300:
            body = ''
        results.append((name, [f"{status} {kind}{''.join(f' warning={w}' for w in warnings)} {body}"]))
    sample.remove(api, False)
    return results


def shorten(text):
    return text if len(text) <= CONTEXT_LIMIT else text[:CONTEXT_LIMIT] + '…'


class Excuses:
    """The file of disagreements: what may differ, and must."""

    def __init__(self, path):
        self.reasons, self.used = {}, set()
        for line in open(path):
            if line.strip() and not line.startswith('#'):
                name, _, reason = line.rstrip('\n').partition(' -- ')
                self.reasons[name] = reason

    def covers(self, name):
        for pattern in self.reasons:
            if pattern == name or ('*' in pattern and fnmatch.fnmatchcase(name, pattern)):
                self.used.add(pattern)
                return True
        return False


def main():
    global CONTEXT_LIMIT
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--server', action='append', required=True)
    parser.add_argument('--expected')
    parser.add_argument('--record', action='store_true')
    parser.add_argument('--quiet', action='store_true')
    parser.add_argument('--whole', action='store_true', help='show long answers whole')
    parser.add_argument('filter', nargs='?', default='')
    options = parser.parse_args()
    if options.whole:
        CONTEXT_LIMIT = 1 << 30
    apis = [Api(text) for text in options.server]
    samples = [Sample(line) for line in open(os.path.join(HERE, 'samples.jsonl')) if line.strip()]
    by_at = {s.at: s for s in samples}
    cases = read_cases(os.path.join(HERE, 'every_resource.cases'))
    topics = []
    for path in sorted(glob.glob(os.path.join(HERE, 'topics', '*.cases'))):
        topic = os.path.basename(path)[:-len('.cases')]
        for case in read_cases(path):
            case.name = f'{topic}: {case.name}'
            topics.append((Topic(len(topics), by_at), case))
    wanted = lambda name: options.filter in name

    def run_sample(sample):
        results = []
        chosen = [case for case in cases if wanted(f'{sample.at}: {case.name}')]
        edits = wanted(f'{sample.at}: edit') or options.filter.startswith(f'{sample.at}: edit') or options.filter in sample.at
        if not chosen and not edits:
            return results
        for api in apis:
            sample.prepare(api)
        for case in chosen:
            results.append((f'{sample.at}: {case.name}', sample, [run_case(api, sample, case) for api in apis]))
        if edits:
            sides = [run_mutations(api, sample) for api in apis]
            for row in zip(*sides):
                name = f'{sample.at}: {row[0][0]}'
                if wanted(name):
                    results.append((name, sample, [texts for _, texts in row]))
        return results

    def run_topic(pair):
        place, case = pair
        return [(case.name, place, [run_case(api, place, case) for api in apis])] if wanted(case.name) else []

    # Resources of one name share their objects (events, autoscalers): one after the other.
    groups = {}
    for sample in samples:
        groups.setdefault(sample.resource, []).append(sample)
    # Topics with cluster-wide effects say so and run alone.
    alone = [pair for pair in topics if 'alone' in pair[1].flags]
    results = []
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        parts = [pool.submit(lambda g: [r for s in g for r in run_sample(s)], group) for group in groups.values()]
        parts += [pool.submit(run_topic, pair) for pair in topics if pair not in alone]
        for part in parts:
            results += part.result()
    for pair in alone:
        results += run_topic(pair)

    if options.record:
        return Recording.write(options.expected, [(name, place, sides[0]) for name, place, sides in results], bool(options.filter))
    recorded = Recording.read(options.expected) if options.expected else None
    excuses = Excuses(os.path.join(HERE, 'disagreements'))
    agree = total = passed = failed = 0
    names = [options_name for options_name in apis]
    for name, place, sides in results:
        sides = list(zip([api.name for api in names], sides))
        if recorded:
            sides.insert(0, ('recorded', recorded.answers(place, name)))
        expected, got = sides[0][1], sides[1][1]
        total += len(got)
        agree += sum(a == b for a, b in zip(expected, got))
        if expected == got or excuses.covers(name):
            passed += 1
            continue
        failed += 1
        print(f'FAIL {name}')
        if options.quiet:
            continue
        if len(expected) != len(got):
            print(f'  {len(expected)} answers are recorded, {len(got)} were given')
        for index, pair in enumerate(zip(expected, got)):
            if pair[0] != pair[1]:
                for (side, _), text in zip(sides, pair):
                    print(f'  {index + 1} {side}: {shorten(text)}')
    if not options.filter:
        for name in sorted(n for n in set(excuses.reasons) - excuses.used if not excuses.reasons[n].startswith('at times')):
            failed += 1
            print(f'FAIL {name}\n  is listed in disagreements, but agrees')
    print(f'{agree} of {total} agree ({100 * agree / max(total, 1):.1f} %), in {len(results)} cases; {len(excuses.used)} disagreements are listed with their reasons')
    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
