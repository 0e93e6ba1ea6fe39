#!/usr/bin/python3
"""Makes embedded.cc: the page with its style and script inside, what it may do, and the API's description.

  embed.py OUT page.html page.css page.js openapi.json
"""
import base64
import hashlib
import json
import sys

PAGE_BYTES_MAX = 150_000


def read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


def put_inside(page, tag, element, text):
    """The page with `tag`, which names another file, replaced by that file's text in `element`."""
    if page.count(tag) != 1:
        sys.exit(f'embed.py: {tag} is in the page {page.count(tag)} times, not once')
    if f'</{element}' in text.lower():
        sys.exit(f'embed.py: a text that is to go into <{element}> ends it')
    return page.replace(tag, f'<{element}>{text}</{element}>')


def source_of(text):
    """As the browser checks it: that very text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def array(name, data):
    lines = [', '.join(map(str, data[at:at + 32])) for at in range(0, len(data), 32)]
    return (f'constexpr unsigned char {name}Bytes[] = {{\n' + ',\n'.join(lines) + '};\n',
            f'const std::string_view {name}(reinterpret_cast<const char*>({name}Bytes), sizeof {name}Bytes);\n')


def main():
    out, page_path, style_path, script_path, description_path = sys.argv[1:]
    style, script = read(style_path), read(script_path)
    page = put_inside(read(page_path), '<link rel="stylesheet" href="page.css">', 'style', style)
    page = put_inside(page, '<script src="page.js"></script>', 'script', script)
    if len(page.encode()) > PAGE_BYTES_MAX:
        sys.exit(f'embed.py: the page has {len(page.encode())} bytes, at most {PAGE_BYTES_MAX} are allowed')
    policy = '; '.join(["default-src 'none'", f'script-src {source_of(script)}', f'style-src {source_of(style)}',
                        "connect-src 'self'", 'img-src data:', "base-uri 'none'", "form-action 'none'",
                        "frame-ancestors 'none'"])
    description = json.dumps(json.loads(read(description_path)), separators=(',', ':'))
    parts = [array(name, text.encode()) for name, text in (
        ('kPage', page), ('kPagePolicy', policy), ('kOpenApi', description))]
    with open(out, 'w', encoding='utf-8') as file:
        file.write('// Made by embed.py.\n#include "control/embedded.h"\n\nnamespace ringbolt::embedded {\nnamespace {\n')
        file.write(''.join(data for data, _ in parts) + '}  // namespace\n\n')
        file.write(''.join(view for _, view in parts) + '\n}  // namespace ringbolt::embedded\n')


main()
