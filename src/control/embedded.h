// Files that are part of the program: page/ and openapi.json, made into embedded.cc when it is built (embed.py).
#pragma once

#include <string_view>

namespace ringbolt::embedded {

/// GET /: the whole page, with its style and its script inside.
extern const std::string_view kPage;
/// What the page may do: run that script, use that style, talk to where it came from, nothing else.
extern const std::string_view kPagePolicy;
/// GET /openapi.json
extern const std::string_view kOpenApi;

}  // namespace ringbolt::embedded
