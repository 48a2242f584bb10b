"""Edits of a valid object that no one wrote by hand: every value in it with another type, empty, absent, or wrong."""
import copy

WRONG_STRING = 'Wrong value!'


def leaves(value, path=()):
    """Every value below spec and its like, with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if path or key not in ('metadata', 'kind', 'apiVersion', 'status'):
                yield from leaves(inner, path + (key,))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            yield from leaves(inner, path + (index,))
    if path:
        yield path, value


def replaced(value, path, new, remove=False):
    made = copy.deepcopy(value)
    at = made
    for part in path[:-1]:
        at = at[part]
    if remove:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return made


def variants(value):
    """(what, new value)."""
    if isinstance(value, bool):
        yield 'a string', 'x'
    elif isinstance(value, int):
        yield from (('a string', 'x'), ('negative', -1), ('zero', 0), ('huge', 1 << 40), ('a fraction', 1.5))
    elif isinstance(value, str):
        yield from (('a number', 7), ('empty', ''), ('wrong', WRONG_STRING), ('long', 'x' * 300), ('a list', ['x']))
    elif isinstance(value, list):
        yield from (('a string', 'x'), ('empty', []), ('an object', {'a': 'b'}))
        if value:
            yield 'twice', [*value, value[0]]
    elif isinstance(value, dict):
        yield from (('a string', 'x'), ('empty', {}), ('a list', [1]))


def changed(value):
    """Another value of the same kind, for updates."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + 'x'
    return None


def of(sample, live):
    """(name, method, object): what is asked about one sample."""
    dotted = lambda path: '.'.join(str(p) for p in path)
    for path, value in leaves(sample.object):
        for what, new in variants(value):
            yield f'edit {dotted(path)} {what}', 'POST', replaced(sample.object, path, new)
        if not isinstance(path[-1], int):
            yield f'edit {dotted(path)} absent', 'POST', replaced(sample.object, path, None, remove=True)
    for path, value in leaves(live):
        if (new := changed(value)) is not None:
            yield f'edit {dotted(path)} changed', 'PUT', replaced(live, path, new)
        if isinstance(value, list) and value:
            yield f'edit {dotted(path)} shorter', 'PUT', replaced(live, path, value[:-1])
        if not isinstance(path[-1], int):
            yield f'edit {dotted(path)} taken away', 'PUT', replaced(live, path, None, remove=True)

