"""The API's description, as a check of real answers: an answer must be described, and have nothing that is not."""
import json
import re

import jsonschema

METHODS = ('get', 'post', 'delete', 'put', 'patch', 'head')


def strict(schema, open_=False):
    """The schema with every object whole: further fields, which a description allows for the future, are none today.
    `open_`: but for the outermost one, which is part of another."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {}
    for key, value in schema.items():
        if key == 'allOf':
            result[key] = [{'$ref': part['$ref'].replace('#/components/schemas/', '#/open/')} if '$ref' in part else strict(part, True)
                           for part in value]
        elif key == 'properties':
            result[key] = {name: strict(inner) for name, inner in value.items()}
        elif key in ('items', 'anyOf'):
            result[key] = strict(value)
        else:
            result[key] = value
    if not open_ and ('allOf' in schema or ('properties' in schema and 'required' in schema)):
        result['unevaluatedProperties'] = False
    return result


class Description:
    def __init__(self, document):
        self.document = document
        schemas = document['components']['schemas']
        self._definitions = {'components': {'schemas': {name: strict(schema) for name, schema in schemas.items()}},
                             'open': {name: strict(schema, True) for name, schema in schemas.items()}}
        self.seen = set()   # (method, path, status) that were checked

    def resolve(self, value):
        while '$ref' in value:
            at = self.document
            for part in value['$ref'].removeprefix('#/').split('/'):
                at = at[part]
            value = at
        return value

    def check(self, value, schema, what):
        validator = jsonschema.Draft202012Validator({**strict(schema), **self._definitions})
        problem = jsonschema.exceptions.best_match(validator.iter_errors(value))
        assert problem is None, f'{what}: at {"/".join(map(str, problem.absolute_path))}: {problem.message}'

    def operation(self, method, target):
        """Template and operation of a request; None, None if there is none."""
        path = target.split('?')[0]
        for template, item in self.document['paths'].items():
            pattern = re.sub(r'\\\{\w+\\\}', '[^/]+', re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in item:
                return template, item[method.lower()]
        return None, None

    def check_answer(self, method, target, status, headers, body):
        """`body`: bytes. Of what is no operation only an error can be the answer."""
        what = f'{method} {target}: {status}'
        template, operation = self.operation(method, target)
        if operation is None:
            assert status >= 400, f'{what}, but it is not described'
            return self.check(json.loads(body), {'$ref': '#/components/schemas/Error'}, what)
        described = operation['responses'].get(str(status))
        self.seen.add((method, template, str(status) if described else 'default'))
        content = self.resolve(described or operation['responses']['default'])['content']
        assert len(content) == 1, what
        [(kind, media)] = content.items()
        assert headers['Content-Type'].split(';')[0] == kind, (what, headers['Content-Type'])
        return self.check(json.loads(body) if kind == 'application/json' else body.decode(), media['schema'], what)

    def check_event(self, name, data):
        events = self.document['paths']['/v1/events']['get']['x-events']
        assert name in events, f'event {name} is not described'
        self.check(data, events[name], f'event {name}')
