"""One HTTP client for tests that ask a served page: making one reads every certificate. No connection stays open."""

import httpx

HTTP = httpx.Client(timeout=120, limits=httpx.Limits(max_keepalive_connections=0))
