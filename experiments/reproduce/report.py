"""The report: one HTML file that needs no other."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from experiments.reproduce.study import Results
from experiments.tables import Table

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>QAMA, reproduced</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25rem 0.7rem; text-align: left; vertical-align: bottom; }
td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; }
pre { background: #f6f6f6; padding: 0.7rem; overflow-x: auto; }
figcaption, .note { color: #555; }
</style>
</head>
<body>
<h1>QAMA, reproduced with qama_jax</h1>
<p>Du et al., <a href="https://arxiv.org/abs/2504.11083">QAMA: Scalable Quantum Annealing Multi-Head Attention Operator
for Deep Learning</a>. Budget: {{ budget }}; every number is from a result file beside this page.</p>
{% for table in tables %}
<h2>{{ table.title }}</h2>
<table>
<tr>{% for cell in table.header %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% if table.note %}<p class="note">{{ table.note }}</p>{% endif %}
{% endfor %}
{% for caption, image in figures %}
<h2>{{ caption.split(":")[0] }}</h2>
<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ image }}"><figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
<h2>Runs</h2>
<table>
<tr><th>run</th><th>seed</th><th>commit</th><th>device</th><th>command</th></tr>
{% for study, lines in results.items() %}{% for run in lines %}<tr><td>{{ study }}, {{ run.case }}, {{ run.arm }}</td>
<td>{{ run.seed }}</td><td>{{ run.commit }}</td><td>{{ run.device.kind }}, {{ run.cpu_cores }} cores</td>
<td><code>{{ run.command }}</code></td></tr>
{% endfor %}{% endfor %}</table>
<h2>Versions</h2>
<p>{% for package, version in versions.items() %}{{ package }} {{ version }}{{ ", " if not loop.last }}{% endfor %}</p>
<h2>Again</h2>
<pre>{{ command }}</pre>
</body>
</html>
"""


def write_report(
    path: Path,
    *,
    budget: str,
    tables: list[Table],
    figures: Mapping[str, Path],
    results: Results,
    provenance: dict[str, Any],
) -> None:
    """Writes the page.

    Args:
      path: the HTML file.
      budget: its name.
      tables: in order.
      figures: PNG files by their captions, which begin with the number and a colon.
      results: of all studies.
      provenance: of this process.
    """
    images = [(caption, base64.b64encode(png.read_bytes()).decode()) for caption, png in figures.items()]
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_PAGE)
    path.write_text(
        page.render(
            budget=budget,
            tables=tables,
            figures=images,
            results=results,
            versions=provenance["versions"],
            command=provenance["command"],
        ),
        encoding="utf-8",
    )
