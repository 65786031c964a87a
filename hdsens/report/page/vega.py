"""The plotting library that a page carries: Vega with Vega-Lite and Vega-Embed, from a wheel."""

from __future__ import annotations

import base64
import gzip
from functools import cache

from vl_convert import javascript_bundle


@cache
def packed_vega() -> str:
    """The library as base64 of gzip: JavaScript that sets `window.vegaEmbed` and nothing else.

    It goes into a page as text, so that a browser parses it only when a chart is wanted.
    """
    script = f'"use strict";(() => {{{javascript_bundle("window.vegaEmbed = vegaEmbed;")}\n}})();'
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
