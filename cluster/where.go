package cluster

// Whereabouts explains a user's place to an administrator. Empty strings: there
// is none of the kind.
type Whereabouts struct {
	Pool string `json:"pool"`
	User string `json:"user"`          // normalised
	Pin  string `json:"pin,omitempty"` // his back end by the pins
	// File: the pin is a pins file's, which may take it back.
	File  bool   `json:"pin_by_file,omitempty"`
	Home  string `json:"home,omitempty"`  // by the hash, over the back ends that may take him
	Stay  string `json:"stay,omitempty"`  // where he is live
	Holds int    `json:"holds"`           // sessions and logins there
	Place string `json:"place,omitempty"` // where a login would go now
	Why   string `json:"why,omitempty"`   // stay, pin or home
	Error string `json:"error,omitempty"` // why a login would be refused, or has to wait
}

// PoolStatus is one pool as it is now.
type PoolStatus struct {
	Name    string `json:"name"`
	Storage string `json:"storage"`
	// Usable counts the back ends that may serve somebody. At zero the pool is
	// out of service.
	Usable   int             `json:"usable"`
	Backends []BackendStatus `json:"backends"`
}

// BackendStatus is one back end as it is now.
type BackendStatus struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"`
	Admin  Admin  `json:"admin"`
	Up     bool   `json:"up"`    // by health
	State  string `json:"state"` // of both: up, drain, down; or removed, while users are live on it
	Users  int    `json:"users"` // live
	Holds  int    `json:"holds"` // their sessions and logins
	// Former counts the users who are live on a server that had this name
	// before, at another address.
	Former int `json:"former,omitempty"`
}
