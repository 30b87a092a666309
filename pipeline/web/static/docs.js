// OpenAPI for people; questions can be tried out, nothing can be said from here.
globalThis.SwaggerUIBundle({ url: "/api/openapi.json", dom_id: "#docs", supportedSubmitMethods: ["get"], validatorUrl: null });
