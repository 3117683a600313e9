"""The documentation of the API as a page: Swagger UI from its package, served from here, nothing from elsewhere."""

from pathlib import Path

import fastapi_offline
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from infra.http.routing import Endpoint

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chancery API</title>
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, docExpansion: "none", filter: true,
  tagsSorter: "alpha", operationsSorter: "alpha", validatorUrl: null,
});
"""
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


async def page(_request: Request) -> Response:
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


async def start(_request: Request) -> Response:
    return Response(START, media_type="text/javascript")


ROUTES: list[tuple[str, str, str, Endpoint]] = [("GET", "/docs", "docs", page), ("GET", "/docs/start.js", "docs.start", start)]
FILES: list[tuple[str, ASGIApp]] = [
    ("/docs/static", StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")),
]
