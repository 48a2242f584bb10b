// Package wire stands between a client and its server: it notes requests and can cut the connection.
package wire

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"k8s.io/client-go/rest"
)

// Requests notes what a client reads.
type Requests struct {
	mu   sync.Mutex
	seen []*url.URL
}

// Watch makes the clients of `config` be noted.
func (r *Requests) Watch(config *rest.Config) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &transport{r, next} })
}

type transport struct {
	to   *Requests
	next http.RoundTripper
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	t.to.mu.Lock()
	if request.Method == http.MethodGet {
		t.to.seen = append(t.to.seen, request.URL)
	}
	t.to.mu.Unlock()
	return t.next.RoundTrip(request)
}

// Count is how many requests so far satisfy `is`.
func (r *Requests) Count(is func(*url.URL) bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, u := range r.seen {
		if is(u) {
			n++
		}
	}
	return n
}

// Cable carries TCP connections to a server until it is cut.
type Cable struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	cut      bool
	open     map[net.Conn]struct{}
}

// Lay returns a cable to the server of `config`, and a configuration that goes by it.
func Lay(config *rest.Config) (*Cable, *rest.Config, error) {
	server, err := url.Parse(config.Host)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	c := &Cable{listener: listener, to: server.Host, open: map[net.Conn]struct{}{}}
	go c.accept()
	by := rest.CopyConfig(config)
	by.Host = "https://" + listener.Addr().String()
	by.TLSClientConfig.ServerName = server.Hostname()
	// Clients of equal configurations share connections; these are to be ones of their own.
	by.Dial = (&net.Dialer{}).DialContext
	return c, by, nil
}

func (c *Cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.to)
		if err != nil || !c.keep(near, far) {
			near.Close()
			continue
		}
		go c.carry(near, far)
		go c.carry(far, near)
	}
}

func (c *Cable) keep(near, far net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		far.Close()
		return false
	}
	c.open[near], c.open[far] = struct{}{}, struct{}{}
	return true
}

func (c *Cable) carry(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	from.Close()
	to.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, from)
}

// Cut ends every connection and lets no new one through.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn := range c.open {
		conn.Close()
	}
}

// Mend lets connections through again.
func (c *Cable) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}
