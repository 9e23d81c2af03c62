package admin_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"usher.example/balancer/admin"
	"usher.example/cluster"
)

// spoken is what the handler of each path takes and answers, with a question or an order
// that it understands.
var spoken = map[string]struct {
	query  string
	body   string
	order  any
	answer any  // nil: any object
	dry    bool // of an order: it has dry_run, and is answered a Plan then
	stream bool // the answer may go on, as server-sent events
}{
	admin.WhoamiPath:  {answer: admin.Whoami{}},
	admin.OpenAPIPath: {},

	admin.StatusPath:   {answer: admin.Status{}},
	admin.SessionsPath: {query: "?user=joe", answer: admin.Sessions{}},
	admin.KickPath:     {body: `{"user":"joe"}`, order: admin.Kick{}, answer: admin.Kicked{}},

	admin.UserPath:         {query: "?user=joe&pool=main", answer: cluster.Whereabouts{}},
	admin.LookupPath:       {body: `{"users":["joe","ann"]}`, order: admin.Lookup{}, answer: admin.Lookups{}},
	admin.UserSessionsPath: {query: "?user=joe", answer: admin.UserSessions{}},
	admin.MovePath:         {body: `{"user":"joe","backend":"mail2"}`, order: admin.Move{}, answer: admin.Done{}, dry: true},
	admin.PinPath:          {body: `{"user":"joe","backend":"mail1"}`, order: admin.Move{}, answer: admin.Done{}, dry: true},
	admin.UnpinPath:        {body: `{"user":"pinned"}`, order: admin.Unpin{}, answer: admin.Done{}, dry: true},
	admin.UserKickPath:     {body: `{"user":"joe"}`, order: admin.UserKick{}, answer: admin.UserKicked{}, dry: true},

	admin.FleetPath:        {answer: admin.FleetStatus{}},
	admin.NodesPath:        {answer: admin.Nodes{}},
	admin.NodeDrainPath:    {body: `{"node":"u1"}`, order: admin.NodeDrain{}, answer: admin.Done{}, dry: true},
	admin.NodeForgetPath:   {body: `{"node":"u2"}`, order: admin.NodeForget{}, answer: admin.Done{}},
	admin.TicketsPath:      {body: `{}`, order: admin.Tickets{}, answer: admin.Done{}},
	admin.BackendsPath:     {answer: admin.Backends{}},
	admin.BackendStatePath: {body: `{"backend":"mail1","state":"drain"}`, order: admin.BackendState{}, answer: admin.Done{}, dry: true},
	admin.WeightPath:       {body: `{"backend":"mail1","weight":7}`, order: admin.Weight{}, answer: admin.Done{}, dry: true},

	admin.BackendAddPath:    {body: `{"backend":"mail3","host":"192.0.2.3","imap_port":143}`, order: admin.BackendAdd{}, answer: admin.Done{}, dry: true},
	admin.BackendRemovePath: {body: `{"backend":"mail3"}`, order: admin.BackendRemove{}, answer: admin.Done{}, dry: true},
	admin.FleetSessionsPath: {query: "?by=idle&most=5", answer: admin.FoundSessions{}},
	admin.ExplainPath:       {query: "?user=joe&pool=main&ip=192.0.2.1&sni=mail.example.org", answer: admin.Explained{}},
	admin.EventsPath:        {query: "?since=1h&limit=5&level=info", answer: admin.EventList{}, stream: true},
	admin.BoardPath:         {answer: admin.Board{}, stream: true},
	admin.CheckupPath:       {answer: admin.Checkup{}},
	admin.PenaltiesPath:     {query: "?kind=user", answer: admin.Penalties{}},
	admin.PenaltyClearPath:  {body: `{"all":true}`, order: admin.ClearOrder{}, answer: admin.Cleared{}},

	admin.CertificatesPath:      {answer: admin.CertificateList{}},
	admin.CertificateRenewPath:  {body: `{"name":"mail.example.org"}`, order: admin.CertificateRenew{}, answer: admin.Done{}},
	admin.CertificateImportPath: {body: `{"certificate":"-","key":"-"}`, order: admin.CertificateImport{}, answer: admin.CertificateImported{}},
	admin.CertificateRemovePath: {body: `{"name":"mail.example.org"}`, order: admin.CertificateRemove{}, answer: admin.Certificate{}},
	admin.CertificateExportPath: {body: `{"name":"mail.example.org"}`, order: admin.CertificateExport{}, answer: admin.CertificateExported{}},
}

// A document is the OpenAPI document, as far as the tests read it.
type document struct {
	raw   any
	Paths map[string]map[string]operation `json:"paths"`

	Components struct {
		Schemas map[string]*shape `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	ID         string `json:"operationId"`
	Summary    string `json:"summary"`
	Role       string `json:"x-usher-role"`
	Parameters []struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"parameters"`
	Body      *content           `json:"requestBody"`
	Responses map[string]content `json:"responses"`
}

type content struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema *shape `json:"schema"`
		// Stream has the data of server-sent events by their names.
		Stream map[string]json.RawMessage `json:"x-usher-stream"`
	} `json:"content"`
}

// A kind is the type of a schema, which may be null as well.
type kind struct {
	name string
	null bool
}

// UnmarshalJSON reads "string" and ["string", "null"].
func (k *kind) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &k.name) == nil {
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) == 2 && list[1] == "null" {
		k.name, k.null = list[0], true
	} else {
		k.name = strings.Join(list, "|")
	}
	return nil
}

type shape struct {
	Ref         string            `json:"$ref"`
	Type        kind              `json:"type"`
	AnyOf       []*shape          `json:"anyOf"`
	Format      string            `json:"format"`
	Description string            `json:"description"`
	Required    []string          `json:"required"`
	Properties  map[string]*shape `json:"properties"`
	Items       *shape            `json:"items"`
	More        json.RawMessage   `json:"additionalProperties"`
}

// schemaURL is a name under which the tests know the document.
const schemaURL = "https://usher.test/openapi.json"

var readDocument = sync.OnceValues(func() (*document, error) {
	text, err := admin.OpenAPI()
	if err != nil {
		return nil, err
	}
	d := new(document)
	if err := json.Unmarshal(text, d); err != nil {
		return nil, err
	}
	d.raw, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	return d, err
})

func openDocument(t *testing.T) *document {
	t.Helper()
	d, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDocumentIsOpenAPI asks the schema of OpenAPI 3.1 itself.
func TestDocumentIsOpenAPI(t *testing.T) {
	d := openDocument(t)
	f, err := os.Open("testdata/openapi-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://usher.test/3.1", meta); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://usher.test/3.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(d.raw); err != nil {
		t.Error(err)
	}
}

// TestDocumentHasEveryRoute, with its method and role, and no other.
func TestDocumentHasEveryRoute(t *testing.T) {
	d := openDocument(t)
	seen := make(map[string]bool)
	for _, r := range newNode(t).Routes() {
		seen[r.Path] = true
		op, ok := d.Paths[r.Path][strings.ToLower(r.Method)]
		if !ok {
			t.Errorf("%s %s is not in the document: describe it in openapi/", r.Method, r.Path)
			continue
		}
		if r.Role == "" {
			t.Errorf("%s has no role: say in role.go who may use it", r.Path)
		}
		if op.Role != string(r.Role) {
			t.Errorf("%s: its role is %q, the document says %q", r.Path, r.Role, op.Role)
		}
		if len(d.Paths[r.Path]) != 1 {
			t.Errorf("%s: the document has several methods", r.Path)
		}
		if _, ok := spoken[r.Path]; !ok {
			t.Errorf("%s: say in this test what its handler takes and answers", r.Path)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d routes: the list is not whole", len(seen))
	}
	for path := range d.Paths {
		if !seen[path] {
			t.Errorf("%s is in the document, and nothing serves it", path)
		}
	}
	for path := range spoken {
		if !seen[path] {
			t.Errorf("%s is in this test, and nothing serves it", path)
		}
	}
}

// TestDocumentHasEveryField of what handlers take and answer, with its type, its
// description, and whether it is always there; and none more.
func TestDocumentHasEveryField(t *testing.T) {
	d := openDocument(t)
	used := map[string]bool{"Refusal": true}
	ids := make(map[string]bool)
	for path, methods := range d.Paths {
		for _, op := range methods {
			if op.ID == "" || ids[op.ID] || op.Summary == "" {
				t.Errorf("%s: no operationId, or one that is there twice, or no summary", path)
			}
			ids[op.ID] = true
			for _, p := range op.Parameters {
				if p.Description == "" {
					t.Errorf("%s: parameter %s is not described", path, p.Name)
				}
			}
			if stream := len(op.Responses["200"].Content["text/event-stream"].Stream) > 0; stream != spoken[path].stream {
				t.Errorf("%s: either the document or the test has no stream", path)
			}
			for _, s := range op.Responses["200"].Content["text/event-stream"].Stream {
				var named shape
				if err := json.Unmarshal(s, &named); err != nil {
					t.Error(err)
				}
				used[strings.TrimPrefix(named.Ref, "#/components/schemas/")] = true
			}
			f := fields{t, d, used, true}
			if (op.Body != nil) != (spoken[path].order != nil) {
				t.Errorf("%s: either the document or the test has no body", path)
			} else if op.Body != nil {
				f.same(path+" takes", op.Body.Content["application/json"].Schema, reflect.TypeOf(spoken[path].order))
			}
			if a := spoken[path].answer; a != nil {
				f.closed = false
				s := op.Responses["200"].Content["application/json"].Schema
				if spoken[path].dry {
					if len(s.AnyOf) != 2 {
						t.Errorf("%s answers what it has done or a Plan, and the document does not say so", path)
						continue
					}
					f.same(path+" answers", s.AnyOf[1], reflect.TypeFor[admin.Plan]())
					s = s.AnyOf[0]
				}
				f.same(path+" answers", s, reflect.TypeOf(a))
			}
		}
	}
	fields{t, d, used, false}.same("a refusal", d.Components.Schemas["Refusal"], reflect.TypeFor[admin.Refusal]())
	for name := range d.Components.Schemas {
		if !used[name] {
			t.Errorf("schema %s is used by nothing", name)
		}
	}
}

type fields struct {
	*testing.T
	d      *document
	used   map[string]bool
	closed bool // objects say that there is nothing else
}

// same compares a schema with a type.
func (f fields) same(at string, s *shape, typ reflect.Type) {
	f.Helper()
	if s == nil {
		f.Errorf("%s: no schema", at)
		return
	}
	if s.Ref != "" {
		name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		f.used[name] = true
		if s = f.d.Components.Schemas[name]; s == nil {
			f.Errorf("%s: no schema %s", at, name)
			return
		}
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want, format := "", ""
	switch {
	case typ.Kind() == reflect.Interface:
		return // anything
	case typ == reflect.TypeFor[time.Time]():
		want, format = "string", "date-time"
	case typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		want = "string"
	default:
		switch typ.Kind() {
		case reflect.String:
			want = "string"
		case reflect.Bool:
			want = "boolean"
		case reflect.Float32, reflect.Float64:
			want = "number"
		case reflect.Slice:
			want = "array"
			f.same(at+"[]", s.Items, typ.Elem())
		case reflect.Map:
			want = "object"
			var more shape
			if err := json.Unmarshal(s.More, &more); err != nil {
				f.Errorf("%s: no schema of its values: %v", at, err)
				return
			}
			f.same(at+"{}", &more, typ.Elem())
		case reflect.Struct:
			want = "object"
			f.object(at, s, typ)
		default:
			want = "integer"
		}
	}
	if s.Type.name != want || s.Format != format {
		f.Errorf("%s: the document says %q %q, want %q %q", at, s.Type.name, s.Format, want, format)
	}
}

// promoted are the fields of a struct as encoding/json sees them: by their names there,
// so that one may be called as the struct is that it is embedded by.
func promoted(typ reflect.Type) (list []reflect.StructField) {
	for i := range typ.NumField() {
		sf := typ.Field(i)
		switch {
		case sf.Anonymous && sf.Tag.Get("json") == "":
			list = append(list, promoted(sf.Type)...)
		case sf.IsExported():
			list = append(list, sf)
		}
	}
	return list
}

func (f fields) object(at string, s *shape, typ reflect.Type) {
	f.Helper()
	if s.Description == "" {
		f.Errorf("%s: the object is not described", at)
	}
	if closed := string(s.More) == "false"; closed != f.closed {
		f.Errorf("%s: additionalProperties: false is for orders, and for nothing else: an answer may get new fields", at)
	}
	var names, always []string
	for _, sf := range promoted(typ) {
		tag, ok := sf.Tag.Lookup("json")
		name, rest, _ := strings.Cut(tag, ",")
		if !ok || name == "" || name == "-" {
			f.Errorf("%s: %s has no name in JSON", at, sf.Name)
			continue
		}
		names = append(names, name)
		if rest == "" {
			always = append(always, name)
		}
		p := s.Properties[name]
		if p == nil {
			f.Errorf("%s: field %s is not in the document", at, name)
			continue
		}
		if rest == "" && sf.Type.Kind() == reflect.Pointer && !f.closed && !p.Type.null {
			f.Errorf("%s: field %s may be null, which the document does not say", at, name)
		}
		if p.Description == "" {
			f.Errorf("%s: field %s is not described", at, name)
		}
		f.same(at+"."+name, p, sf.Type)
	}
	for name := range s.Properties {
		if !slices.Contains(names, name) {
			f.Errorf("%s: no field %s is there", at, name)
		}
	}
	slices.Sort(always)
	required := slices.Sorted(slices.Values(s.Required))
	if !slices.Equal(always, required) {
		f.Errorf("%s: always there are %q, the document requires %q", at, always, required)
	}
}

// audience holds what has been answered in any test of this package to the document.
var audience struct {
	sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
	bad      []string
	heard    int
}

// heard compares an answer of the API with the document. Where that says that there
// may be more fields, there must be none.
func heard(method, target string, status int, body []byte) {
	audience.Lock()
	defer audience.Unlock()
	u, err := url.Parse(target)
	if err != nil {
		return
	}
	d, err := readDocument()
	if err == nil {
		err = compare(d, method, u.Path, status, body)
	}
	audience.heard++
	if err != nil && len(audience.bad) < 20 {
		audience.bad = append(audience.bad, fmt.Sprintf("%s %s: %d: %v\n%.300s", method, u.Path, status, err, body))
	}
}

func compare(d *document, method, path string, status int, body []byte) error {
	at := "#/components/schemas/Refusal"
	ops, ok := d.Paths[path]
	op, right := ops[strings.ToLower(method)]
	switch {
	case !ok && status != http.StatusNotFound && status != http.StatusUnauthorized:
		return fmt.Errorf("it is not in the document, so 404 is expected, or 401 before that")
	case !ok:
	case !right && status != http.StatusMethodNotAllowed && status != http.StatusUnauthorized && status != http.StatusForbidden:
		return fmt.Errorf("the document has another method, so 405 is expected")
	case !right:
	default:
		if _, ok := op.Responses[fmt.Sprint(status)]; !ok {
			return fmt.Errorf("the document does not have that status")
		}
		if status == http.StatusOK {
			at = "#/paths/" + strings.NewReplacer("/", "~1").Replace(path) + "/" + strings.ToLower(method) + "/responses/200/content/application~1json/schema"
		}
	}
	return validate(d, at, body)
}

// validate holds JSON to the schema at a place of the document. It is called with
// audience held.
func validate(d *document, at string, body []byte) error {
	s := audience.schemas[at]
	if s == nil {
		if audience.compiler == nil {
			audience.compiler, audience.schemas = jsonschema.NewCompiler(), make(map[string]*jsonschema.Schema)
			audience.compiler.AssertFormat()
			if err := audience.compiler.AddResource(schemaURL, closed(d.raw)); err != nil {
				return err
			}
		}
		var err error
		if s, err = audience.compiler.Compile(schemaURL + at); err != nil {
			return err
		}
		audience.schemas[at] = s
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// closed is a document in which objects with properties have no others.
func closed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, e := range v {
			c[k] = closed(e)
		}
		if _, object := v["properties"].(map[string]any); object && v["type"] == "object" {
			c["additionalProperties"] = false
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = closed(e)
		}
		return c
	}
	return v
}

// TestMain fails if any answer in any test was not as the document says.
func TestMain(m *testing.M) {
	code := m.Run()
	for _, b := range audience.bad {
		fmt.Fprintln(os.Stderr, "an answer is not as the OpenAPI document says:", b)
		code = max(code, 1)
	}
	os.Exit(code)
}

// pinning has everybody pinned to a back end that is not there.
type pinning struct{ admin.Places }

func (p pinning) Where(pool, user string) (cluster.Whereabouts, error) {
	w, err := p.Places.Where(pool, user)
	w.Pin = "mail9"
	return w, err
}

// TestDocumentHasEveryAnswer asks every path what it understands, and what it does not:
// the answers are held to the document as they are heard.
func TestDocumentHasEveryAnswer(t *testing.T) {
	n := newNode(t)
	n.connect(t).login(t, "joe", "good")
	n.connect(t)
	inFleet := n.whole(new(fakeFleet), nil)
	ask := func(h http.Handler, method, target, kind, body string) int {
		return askOf(h, method, target, kind, body).Code
	}
	real := admin.New(admin.Options{Node: n.balancer, Places: n.places, Fleet: n.places, Keeper: dated{}, Reloads: n.reloads})
	const js = "application/json"
	for _, h := range []http.Handler{inFleet.Handler(), n.Handler()} {
		for _, r := range n.Routes() {
			say := spoken[r.Path]
			kind, other := "", http.MethodPost
			if say.order != nil {
				kind, other = js, http.MethodGet
			}
			for _, bad := range []struct {
				method, target, kind, body string
				want                       int
			}{
				{other, r.Path, "", "", http.StatusMethodNotAllowed},
				{http.MethodDelete, r.Path, "", "", http.StatusMethodNotAllowed},
				{r.Method, r.Path + "?surely_unknown=1", kind, say.body, http.StatusBadRequest},
				{r.Method, r.Path + "?%zz", kind, say.body, http.StatusBadRequest},
			} {
				if got := ask(h, bad.method, bad.target, bad.kind, bad.body); got != bad.want && got != http.StatusNotImplemented {
					t.Errorf("%s %s: got %d, want %d", bad.method, bad.target, got, bad.want)
				}
			}
			if say.order == nil {
				continue
			}
			for _, bad := range []struct {
				kind, body string
				want       int
			}{
				{"text/plain", say.body, http.StatusUnsupportedMediaType},
				{js, "", http.StatusBadRequest},
				{js, "[]", http.StatusBadRequest},
				{js, `{"surely_unknown":1}`, http.StatusBadRequest},
				{js, say.body + "{}", http.StatusBadRequest},
				{js, `{"by":"` + strings.Repeat("x", 4<<20) + `"}`, http.StatusRequestEntityTooLarge},
			} {
				if got := ask(h, r.Method, r.Path, bad.kind, bad.body); got != bad.want && got != http.StatusNotImplemented {
					t.Errorf("%s with %.40q: got %d, want %d", r.Path, bad.body, got, bad.want)
				}
			}
		}
	}
	for _, r := range n.Routes() {
		say := spoken[r.Path]
		kind := ""
		if say.order != nil {
			kind = js
		}
		if w := askOf(inFleet.Handler(), r.Method, r.Path+say.query, kind, say.body); w.Code != http.StatusOK {
			t.Errorf("%s: got %d: %s", r.Path, w.Code, w.Body)
		}
		if say.dry {
			w := askOf(inFleet.Handler(), r.Method, r.Path, kind, strings.TrimSuffix(say.body, "}")+`,"dry_run":true}`)
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"dry_run":true`) {
				t.Errorf("%s with dry_run: got %d: %s", r.Path, w.Code, w.Body)
			}
		}
		if say.order != nil {
			continue
		}
		if w := askOf(real.Handler(), r.Method, r.Path+say.query, "", ""); w.Code != http.StatusOK {
			t.Errorf("%s of a real fleet of one: got %d: %s", r.Path, w.Code, w.Body)
		}
	}
}
