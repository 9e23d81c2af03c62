package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/cmd/internal/config"
)

// remoteFlags are how a command reaches an usher on another machine, each with the
// variable of the environment that stands for it. A token is never an argument: others
// on the machine see those.
var remoteFlags = []struct{ name, env, help string }{
	{"api", "USHER_API", "ask the usher at this URL, such as https://edge-1.example.org:9181, and not the socket"},
	{"token-file", "USHER_TOKEN_FILE", "with --api: file with the token that says who asks"},
	{"ca", "USHER_CA", "with --api: file with the CAs that are believed, PEM (default: the system's)"},
	{"client-cert", "USHER_CLIENT_CERT", "with --api: file with the certificate that says who asks, PEM"},
	{"client-key", "USHER_CLIENT_KEY", "with --api: file with its key, PEM (default: that of --client-cert)"},
}

func addRemoteFlags(root *cobra.Command) {
	for _, f := range remoteFlags {
		root.PersistentFlags().String(f.name, "", f.help+" [$"+f.env+"]")
	}
}

// remote is what the flags and the environment say.
func remote(cmd *cobra.Command) (map[string]string, error) {
	said := make(map[string]string)
	for _, f := range remoteFlags {
		text, err := cmd.Flags().GetString(f.name)
		if err != nil {
			return nil, err
		}
		said[f.name] = cmp.Or(text, os.Getenv(f.env))
	}
	if cmd.Flags().Changed("socket") {
		if cmd.Flags().Changed("api") {
			return nil, usageError("--socket and --api: say one of them")
		}
		said["api"] = "" // the nearer word counts, not the environment's
	}
	return said, nil
}

// remoteClient is a client of the API over TCP.
func remoteClient(said map[string]string) (*adminClient, error) {
	u, err := url.Parse(said["api"])
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, usageError("--api %q: want https:// with a host and a port, and nothing behind it", said["api"])
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := said["ca"]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: %s has no certificate in PEM", file)
		}
	}
	if file := said["client-cert"]; file != "" {
		pair, err := tls.LoadX509KeyPair(file, cmp.Or(said["client-key"], file))
		if err != nil {
			return nil, fmt.Errorf("--client-cert: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	c := &adminClient{socket: "https://" + u.Host, base: "https://" + u.Host, http: http.Client{
		Timeout:       answerTime,
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: t},                  // asks once, and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for nobody else
	}}
	if file := said["token-file"]; file != "" {
		token, err := config.ReadSecret(file)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		c.token = token
	}
	if c.token == "" && t.Certificates == nil {
		return nil, usageError("--api: say with --token-file or --client-cert who asks")
	}
	return c, nil
}

// unreachableAPI says what to do about a port that does not answer.
func (c *adminClient) unreachableAPI(err error) error {
	next := "try it again, and see whether usher runs there and has [admin.api]"
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown):
		next = "name the CA of its certificate with --ca"
	case errors.As(err, &name):
		next = "use a name that its certificate is for, or have one made for this"
	case errors.As(err, &alert):
		next = "it does not take what --client-cert says, or wants one: see client_ca_file there, and its log"
	}
	return &exitError{exitTemporary, fmt.Errorf("ask usher at %s: %w; %s", c.base, err, next)}
}

func whoamiCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "whoami",
		Short: "show as whom usher sees you, and what you may do",
		Long: `whoami asks who is asking: the name that is in the log and in what you order, the role,
and what it lets you use.` + exitText,
		Example: "  usher admin whoami --api https://edge-1.example.org:9181 --token-file ~/.usher-token",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			var me admin.Whoami
			if err := client.get(cmd.Context(), admin.WhoamiPath, nil, &me); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), me)
			}
			return printWhoami(cmd, me)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func printWhoami(cmd *cobra.Command, me admin.Whoami) error {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s, by %s, has the role %s\n", text(me.Name), text(me.Via), text(string(me.Role)))
	for _, may := range []struct {
		what string
		yes  bool
	}{{"sees names of users", me.Users}, {"gives orders", me.Orders}, {"exports private keys", me.Keys}} {
		answer := "no"
		if may.yes {
			answer = "yes"
		}
		if _, err := fmt.Fprintf(out, "  %-22s%s\n", may.what, answer); err != nil {
			return err
		}
	}
	return nil
}
