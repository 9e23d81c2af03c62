package admin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/url"
	"path"
)

// AssetsPath is below what the page's style, script and icon are.
const AssetsPath = "/assets/"

// The page: files as they are, made by nobody.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page load what is served beside it and ask this origin, and
// nothing else: no script in the text, no form that goes anywhere, no frame around.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// Page serves the dashboard's page at "/" and AssetsPath: static files that anybody
// may have, since they know nothing. What they show they ask of BoardPath.
func Page() http.Handler {
	mux := http.NewServeMux()
	pageRoutes(mux)
	return mux
}

func pageRoutes(mux *http.ServeMux) {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the name is a constant
	}
	serve := func(pattern, name string) {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err) // it was just listed
		}
		mux.Handle(pattern, pageFile(path.Ext(name), text))
	}
	serve("/{$}", "index.html")
	names, _ := fs.Glob(files, "assets/*") // the pattern is good
	for _, name := range names {
		serve("/"+name, name)
	}
}

func pageFile(ext string, text []byte) http.Handler {
	sum := sha256.Sum256(text)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "the page can only be read", "use GET")
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // the next build has other files under the same names
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", pageTypes[ext])
		_, _ = w.Write(text) // an error: he has gone
	})
}

// ownPage lets those who can open the unix socket give orders, but no page of
// another origin that a browser was sent to, even under a name that leads here: a
// socket that ssh forwards to an operator's machine can be asked by his browser. Nor is
// such a page told anything.
func ownPage(h http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "the order comes from a page of another origin", "give it on this node's own page, or by a command")
	}))
	return ownHost(guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" && r.Method != http.MethodGet && !fromLoopback(origin) {
			refuse(w, http.StatusForbidden, "the page that gives the order was not asked for at a loopback address", "open it as http://localhost:PORT/")
			return
		}
		h.ServeHTTP(w, r)
	})), ownSocketHost)
}

// fromLoopback tells whether a page's origin is a loopback address or localhost.
func fromLoopback(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && loopbackName(u.Hostname())
}
