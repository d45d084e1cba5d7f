"""The prose pages: what they say of chapters, commands, files and names is true."""

import ast
import re

import pytest
import yaml
from cards import parts
from compare import code_cells, printed
from notebooks import CHAPTERS, ROOT, read

README = ROOT / "README.md"
PROSE = [ROOT / "index.md", *sorted((ROOT / "pages").glob("*.md"))]
# What the lines on results in README quote, in their order: lines of the chapter's own outputs.
RESULTS = {
    "01_sequence_models": [r"k =  1: MLP minus .* better on (.*) series"],
    "04_rnn_from_scratch": [
        r"sequential +(\S+) .*",
        r"sequential +\S+ +\S+ \(\d+\) +(\S+) .*",
        r"uniform guess +(\S+)",
    ],
    "08_lstm": [
        *(rf"{kind} +order .*, held-out (\S+)" for kind in ["NGramModel", "KneserNey"]),
        *(rf"{cell} .*\) +(\S+) \(.*" for cell in ["RNN", "GRU", "LSTM"]),
        r"LSTM +share .*, held-out (\S+)",
    ],
    "09_imdb": [
        rf"{model} +validation .*, test (\S+)" for model in ["bag of words", "LSTM", "committee"]
    ],
    "10_verne": [
        rf"{model} +(\S+) bits a character"
        for model in ["LSTM", "Kneser and Ney", r"n-gram of order \d+", "bz2"]
    ]
    + [rf"{it} .* (\S+)  unit .*" for it in ["as it was", "16 windows of 160", "64 windows of 40"]],
}


@pytest.mark.parametrize("chapter", RESULTS)
def test_readme_quotes_the_record(chapter):
    record = "\n".join(printed(*code_cells(read(f"chapters/{chapter}.ipynb"))))
    found = [re.search(f"^{pattern}$", record, re.M) for pattern in RESULTS[chapter]]
    assert all(found), f"chapter {chapter} no longer prints a line like {RESULTS[chapter]}"
    numbers = [match[1] for match in found]
    (line,) = re.findall(rf"^- \*\*.*\(chapters/{chapter}\.ipynb\)\)$", README.read_text(), re.M)
    quoted = re.findall(r"\*\*(\d.*?)\*\*", line)
    assert quoted == numbers, f"write {numbers} in this line of README.md: {line}"


def test_readme_has_no_result_that_is_not_tested():
    text = README.read_text().partition("## What comes out")[2].partition("\n## ")[0]
    assert {*re.findall(r"chapters/(\w+)", text)} == {*RESULTS}
    assert text.count("\n- ") == len(RESULTS)


def test_readme_lists_the_chapters():
    lines = []
    for caption, chapters in parts(ROOT).items():
        lines += ["", f"**{caption}**", ""]
        lines += ["- [{number}. {title}]({path}): {about}".format(**c) for c in chapters]
    expected = "\n".join(lines).strip()
    listed = README.read_text().partition("## The chapters")[2].partition("## ")[0].strip()
    assert listed == expected, f"the list of chapters in README.md should be\n\n{expected}"


def test_each_page_says_in_a_sentence_what_it_holds():
    front = [yaml.safe_load(path.read_text().split("---")[1])["myst"] for path in PROSE]
    front += [read(path).metadata.myst for path in CHAPTERS]
    sentences = [page["html_meta"]["description lang=en"] for page in front]
    assert len(set(sentences)) == len(PROSE) + len(CHAPTERS)
    assert all(40 <= len(text) <= 160 and text[-1] in ".?" for text in sentences), sentences


def test_readme_says_what_each_file_is_for():
    table = README.read_text().partition("## What is where")[2].partition("\n## ")[0]
    named = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.M)))
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert {f"_ext/{path.name}" for path in ROOT.glob("_ext/*.py")} <= set(named)


def public_names():
    """Return the names that utils and the chapters define or that PyTorch's layers have."""
    sources = [path.read_text() for path in ROOT.glob("utils/*.py")]
    sources += [cell.source for path in CHAPTERS for cell in code_cells(read(path))]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    defined = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    arguments = {n.arg for n in nodes if isinstance(n, ast.arg)}
    return defined | arguments | {"nn.RNN", "nn.LSTM", "functools.partial", "lyrics"}


def test_names_that_stand_for_those_of_the_books_exist():
    rows = re.findall(r"^\| .+? \| (.+?) \| \[", (ROOT / "pages/names.md").read_text(), re.M)
    here = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert len(rows) > 40 and here - public_names() == set()


def test_glossary_has_each_term_in_two_languages_and_a_place():
    text = (ROOT / "pages/glossary.md").read_text()
    entries = re.findall(r"((?:^\S.*\n)+)((?:^  .+\n)+)", text.partition(":sorted:\n")[2], re.M)
    assert len(entries) > 130
    for terms, meaning in entries:
        *english, chinese = terms.splitlines()
        assert english and re.search(r"[\u4e00-\u9fff]", chinese), terms
        place = re.search(r"Chapter (\d+), \[\]\(\.\./chapters/(\d+)_\w+\.ipynb#.+\)\.$", meaning)
        assert "](running.md#" in meaning or int(place[1]) == int(place[2]), terms


def test_the_page_of_helpers_has_every_module_with_all_its_names():
    text = (ROOT / "pages/api.md").read_text()
    modules = {path.stem for path in ROOT.glob("utils/[a-z]*.py")}
    assert {*re.findall(r"automodule:: utils\.(\w+)\n   :members:\n", text)} == modules
