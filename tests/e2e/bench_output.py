"""What the scripts about bench/ look at: the Markdown that its programs print, and what they leave behind."""
import os
import re


def processes(directory):
    """Command lines that name the directory, those of this script and of what it runs itself left out."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as file:
                line = file.read().replace(b'\0', b' ').decode(errors='replace')
        except OSError:
            continue
        if directory in line:
            found.append(line)
    return found


def check_markdown(text):
    """Every table has as many cells in each row as in its head."""
    rows = re.findall(r'^\|.*\|$', text, re.MULTILINE)
    assert rows, text
    for table in re.findall(r'(?:^\|.*\|\n)+', text, re.MULTILINE):
        lines = table.splitlines()
        assert len(lines) > 2 and re.fullmatch(r'\|---(\|---:)*\|', lines[1]), table
        assert {line.count('|') for line in lines} == {lines[0].count('|')}, table
