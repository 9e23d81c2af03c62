package admin

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"sync"
)

// OpenAPIPath answers the description of this API.
const OpenAPIPath = "/v1/openapi.json"

// The document is a file for each topic, so that a topic is added by adding a file. Each
// is an OpenAPI document with the paths and schemas of its topic; base.json has the rest.
//
//go:embed openapi/*.json
var openAPIFiles embed.FS

// OpenAPI returns the document of all topics: OpenAPI 3.1, JSON. Two files that say
// something of one path, or of one name of components, are an error.
var OpenAPI = sync.OnceValues(func() ([]byte, error) {
	entries, err := openAPIFiles.ReadDir("openapi")
	if err != nil {
		return nil, err
	}
	whole := make(map[string]any)
	for _, e := range entries {
		text, err := openAPIFiles.ReadFile(path.Join("openapi", e.Name()))
		if err != nil {
			return nil, err
		}
		var part map[string]any
		if err := json.Unmarshal(text, &part); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		if err := join(whole, part, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return json.Marshal(whole)
})

// joinDepth is how deep two files may meet: at components.schemas.
const joinDepth = 2

// join adds a part to the whole.
func join(whole, part map[string]any, depth int) error {
	for name, value := range part {
		there, twice := whole[name]
		if !twice {
			whole[name] = value
			continue
		}
		a, ok := there.(map[string]any)
		b, ok2 := value.(map[string]any)
		if !ok || !ok2 || depth == joinDepth {
			return fmt.Errorf("%s is there twice", name)
		}
		if err := join(a, b, depth+1); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *Server) openAPI(w http.ResponseWriter, r *http.Request) {
	if _, ok := query(w, r); !ok {
		return
	}
	text, err := OpenAPI()
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error(), "report it")
		return
	}
	answer(w, json.RawMessage(text))
}
