"""The page: the same prompt continued side by side with language neurons on, off and steered (Gradio)."""

import os

# Read by gradio when it is imported, so before any module here imports it: the page makes no request to the
# outside, and talks to itself without a proxy.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
for _name in ("NO_PROXY", "no_proxy"):
    _hosts = [host for host in os.environ.get(_name, "").split(",") if host]
    os.environ[_name] = ",".join(dict.fromkeys([*_hosts, "127.0.0.1", "localhost"]))
