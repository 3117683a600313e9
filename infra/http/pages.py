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
<link rel="icon" href="/docs/static/favicon.png">
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """// What an operation refers to is put in its place here, when it is opened: the page's own way takes the whole document apart first.
function whole(part, all, within) {
  if (Array.isArray(part)) return part.map((one) => whole(one, all, within));
  if (part === null || typeof part !== "object") return part;
  if (typeof part.$ref !== "string" || !part.$ref.startsWith("#/"))
    return Object.fromEntries(Object.entries(part).map(([name, one]) => [name, whole(one, all, within)]));
  const { $ref, ...beside } = part;
  if (within.includes($ref)) return part;
  const found = $ref.slice(2).split("/").reduce((at, name) => at?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], all);
  return { ...whole(found, all, [...within, $ref]), ...beside };
}

function Resolving() {
  const resolveSubtree = async (all, path) => ({ spec: whole(path.reduce((at, name) => at?.[name], all), all, []), errors: [] });
  return { fn: { resolveSubtree } };
}

SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, docExpansion: "none", filter: true,
  tagsSorter: "alpha", operationsSorter: "alpha", validatorUrl: null, plugins: [Resolving],
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
