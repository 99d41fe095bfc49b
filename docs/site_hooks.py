"""What mkdocs does beside its own: pages above docs/ join the site, and links to them hold.

README, SECURITY and CHANGELOG are read where they stand, so that nothing is written twice.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ABOVE = {"README.md": "index.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for source, page in ABOVE.items():
        files.append(File.generated(config, page, abs_src_path=str(root / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of the repository become links of the site."""
    here = page.file.src_uri
    source = {at: name for name, at in ABOVE.items()}.get(here, f"docs/{here}")

    def of_the_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        at = ABOVE.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(at, posixpath.dirname(here) or ".")

    return LINK.sub(of_the_site, markdown)
