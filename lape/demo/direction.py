"""The page's language and direction in the browser: Arabic turns it round, and each text in it keeps its own."""

from __future__ import annotations

import json

from babel import Locale

from lape.demo.words import LANGUAGES

_DIRECTIONS = json.dumps({code: Locale.parse(code).text_direction for code in LANGUAGES})

# gradio writes in the browser's language without saying so; screen readers and the forms of Chinese characters need it.
DIRECTION = f"""<script>
{{
  const directions = {_DIRECTIONS};
  const asked = navigator.language.toLowerCase().split("-")[0];
  const root = document.documentElement;
  root.lang = asked in directions ? asked : "en";
  root.dir = directions[root.lang];
}}
</script>"""
# gradio gives blocks a direction of their own, and puts some things at the right wherever a line begins.
DIRECTION_CSS = """
:is(.lape-model span, .lape-status, .lape-footer p, .lape-report p, #lape-mask-in-use textarea) {
  unicode-bidi: plaintext; text-align: start; }
html[dir="rtl"] { --direction: rtl; }
html[dir="rtl"] :is(.block, .prose)[dir="ltr"] { direction: rtl; }
html[dir="rtl"] :is(.lape-cells, .lape-axis, .lape-bar, .slider_input_container, .katex, code, pre, svg) {
  direction: ltr; unicode-bidi: isolate; }
html[dir="rtl"] pre { text-align: left; }
html[dir="rtl"] .icon-wrap { right: auto; left: var(--size-5); }
html[dir="rtl"] :is([type="checkbox"], [type="radio"]) + span { margin-left: 0; margin-right: var(--size-2); }
"""
