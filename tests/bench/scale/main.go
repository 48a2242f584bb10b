// The API server with much in it: fills it, lists it, asks it at a steady rate, watches it by the thousand.
// usage: scale -server URL (-cert FILE -key FILE | -token TOKEN) fill|list|steady|watch|churn [FLAGS]
// Every mode prints one line of figures and exits 1 when a request failed. Only the public API is used.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

var (
	server = flag.String("server", "", "URL of the API server")
	cert   = flag.String("cert", "", "client certificate")
	key    = flag.String("key", "", "its key")
	token  = flag.String("token", "", "bearer token")
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func newClient() *http.Client {
	config := &tls.Config{InsecureSkipVerify: true}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 64, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}}
}

func request(method, path string, body any) *http.Request {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		check(err)
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, *server+path, reader)
	check(err)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if *token != "" {
		r.Header.Set("Authorization", "Bearer "+*token)
	}
	return r
}

// do sends one request and reads its answer away; the number of bytes and whether it was a success.
func do(c *http.Client, method, path string, body any) (int64, bool) {
	response, err := c.Do(request(method, path, body))
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		return 0, false
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		fmt.Fprintf(os.Stderr, "scale: %s %s: %d %s\n", method, path, response.StatusCode, said)
		return 0, false
	}
	n, err := io.Copy(io.Discard, response.Body)
	return n, err == nil
}

type object = map[string]any

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*q))]
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func summary(took []time.Duration) string {
	sort.Slice(took, func(a, b int) bool { return took[a] < took[b] })
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	mean := sum / time.Duration(max(1, len(took)))
	return fmt.Sprintf("mean=%.2fms p50=%.2fms p99=%.2fms max=%.2fms", millis(mean), millis(quantile(took, 0.5)), millis(quantile(took, 0.99)), millis(quantile(took, 1)))
}

// inParallel runs call(0..n-1) over 16 clients; the number of failures.
func inParallel(n int, call func(c *http.Client, i int) bool) int64 {
	var next, failed atomic.Int64
	var group sync.WaitGroup
	for w := 0; w < 16; w++ {
		group.Add(1)
		go func() {
			defer group.Done()
			c := newClient()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if !call(c, i) {
					failed.Add(1)
				}
			}
		}()
	}
	group.Wait()
	return failed.Load()
}

func pod(i, nodes int) object {
	return object{"metadata": object{"name": fmt.Sprintf("pod-%06d", i), "labels": object{"app": fmt.Sprintf("app-%d", i%500), "pod-template-hash": "7c5ddbdf54"}},
		"spec": object{"nodeName": fmt.Sprintf("node-%04d", i%nodes), "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 30,
			"containers": []object{{"name": "main", "image": "registry.example/team/app:1.2.3", "command": []string{"/bin/app", "--verbose"},
				"env":       []object{{"name": "GREETING", "value": "hello"}, {"name": "POD", "valueFrom": object{"fieldRef": object{"fieldPath": "metadata.name"}}}},
				"ports":     []object{{"containerPort": 8080, "name": "http"}},
				"resources": object{"requests": object{"cpu": "10m", "memory": "16Mi"}, "limits": object{"memory": "64Mi"}}}}}}
}

func fill(args []string) int64 {
	flags := flag.NewFlagSet("fill", flag.ExitOnError)
	pods := flags.Int("pods", 150000, "")
	nodes := flags.Int("nodes", 5000, "")
	check(flags.Parse(args))
	start := time.Now()
	failed := inParallel(*nodes, func(c *http.Client, i int) bool {
		_, ok := do(c, "POST", "/api/v1/nodes", object{"metadata": object{"name": fmt.Sprintf("node-%04d", i)}})
		return ok
	})
	failed += inParallel(*pods, func(c *http.Client, i int) bool {
		_, ok := do(c, "POST", "/api/v1/namespaces/default/pods", pod(i, *nodes))
		return ok
	})
	took := time.Since(start)
	fmt.Printf("fill pods=%d nodes=%d seconds=%.1f rate=%.0f/s errors=%d\n", *pods, *nodes, took.Seconds(), float64(*pods+*nodes)/took.Seconds(), failed)
	return failed
}

func list(args []string) int64 {
	flags := flag.NewFlagSet("list", flag.ExitOnError)
	path := flags.String("path", "/api/v1/pods", "")
	check(flags.Parse(args))
	start := time.Now()
	n, ok := do(newClient(), "GET", *path, nil)
	fmt.Printf("list path=%s bytes=%d seconds=%.2f\n", *path, n, time.Since(start).Seconds())
	if ok {
		return 0
	}
	return 1
}

// steady asks at a fixed rate whatever the answers take: latencies count from when a request was due.
func steady(args []string) int64 {
	flags := flag.NewFlagSet("steady", flag.ExitOnError)
	secrets := flags.Int("secrets", 5000, "")
	rate := flags.Int("rate", 200, "requests a second")
	seconds := flags.Int("seconds", 20, "")
	check(flags.Parse(args))
	const base = "/api/v1/namespaces/default/secrets"
	secret := func(name string) object {
		return object{"metadata": object{"name": name}, "stringData": object{"password": fmt.Sprint(rand.Int63()), "user": "someone"}}
	}
	name := func(i int) string { return fmt.Sprintf("secret-%05d", i) }
	failed := inParallel(*secrets, func(c *http.Client, i int) bool {
		_, ok := do(c, "POST", base, secret(name(i)))
		return ok
	})
	n := *rate * *seconds
	took := make([]time.Duration, n)
	c := newClient()
	var group sync.WaitGroup
	var bad atomic.Int64
	start := time.Now()
	for i := 0; i < n; i++ {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(*rate))
		time.Sleep(time.Until(due))
		group.Add(1)
		go func() {
			defer group.Done()
			which := name(rand.Intn(*secrets))
			ok := true
			switch kind := i % 10; {
			case kind < 6:
				_, ok = do(c, "GET", base+"/"+which, nil)
			case kind < 8:
				_, ok = do(c, "PUT", base+"/"+which, secret(which))
			case kind < 9:
				_, ok = do(c, "POST", base, secret(fmt.Sprintf("new-%06d", i)))
			default:
				_, ok = do(c, "GET", base+"?limit=50", nil)
			}
			took[i] = time.Since(due)
			if !ok {
				bad.Add(1)
			}
		}()
	}
	group.Wait()
	fmt.Printf("steady secrets=%d rate=%d/s requests=%d %s errors=%d\n", *secrets, *rate, n, summary(took), failed+bad.Load())
	return failed + bad.Load()
}

type update struct {
	Object struct {
		Data struct {
			At int64 `json:"at,string"`
		} `json:"data"`
	} `json:"object"`
}

// watch opens many watches of one namespace's ConfigMaps, and changes one at a fixed rate. A hundred watchers tell how
// late each change came; the rest read it away.
func watch(args []string) int64 {
	flags := flag.NewFlagSet("watch", flag.ExitOnError)
	watchers := flags.Int("watchers", 1000, "")
	rate := flags.Int("rate", 100, "updates a second")
	seconds := flags.Int("seconds", 10, "")
	pause := flags.Int("pause", 0, "seconds to hold the watches idle before")
	check(flags.Parse(args))
	const base = "/api/v1/namespaces/default/configmaps"
	c := newClient()
	mark := func(i int64) object {
		return object{"metadata": object{"name": "mark"}, "data": object{"at": fmt.Sprint(i)}}
	}
	do(c, "DELETE", base+"/mark", nil)
	if _, ok := do(c, "POST", base, mark(0)); !ok {
		return 1
	}
	clients := make([]*http.Client, 16)
	for i := range clients {
		clients[i] = newClient()
	}
	want := int64(*rate * *seconds)
	var mutex sync.Mutex
	var late []time.Duration
	var events, open, failed atomic.Int64
	every := max(1, *watchers/100)
	failed.Add(inParallel(*watchers, func(_ *http.Client, i int) bool {
		response, err := clients[i%len(clients)].Do(request("GET", base+"?watch=1&fieldSelector=metadata.name%3Dmark", nil))
		if err != nil || response.StatusCode != 200 {
			fmt.Fprintln(os.Stderr, "scale: watch:", err)
			return false
		}
		open.Add(1)
		go func() {
			if i%every != 0 {
				buffer := make([]byte, 4096)
				for {
					n, err := response.Body.Read(buffer)
					events.Add(int64(bytes.Count(buffer[:n], []byte("\n"))))
					if err != nil {
						return
					}
				}
			}
			decoder := json.NewDecoder(response.Body)
			for {
				var u update
				if decoder.Decode(&u) != nil {
					return
				}
				events.Add(1)
				if u.Object.Data.At > 0 {
					d := time.Duration(time.Now().UnixNano() - u.Object.Data.At)
					mutex.Lock()
					late = append(late, d)
					mutex.Unlock()
				}
			}
		}()
		return true
	}))
	fmt.Printf("open watchers=%d\n", open.Load())
	time.Sleep(time.Duration(*pause) * time.Second)
	before := events.Load()
	start := time.Now()
	for i := int64(0); i < want; i++ {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(*rate))))
		if _, ok := do(c, "PUT", base+"/mark", mark(time.Now().UnixNano())); !ok {
			failed.Add(1)
		}
	}
	wanted := want * open.Load()
	for end := time.Now().Add(60 * time.Second); events.Load()-before < wanted && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(start)
	delivered := events.Load() - before
	mutex.Lock()
	defer mutex.Unlock()
	fmt.Printf("watch watchers=%d rate=%d/s delivered=%d of %d (%.0f/s) %s errors=%d\n", *watchers, *rate, delivered, wanted, float64(delivered)/took.Seconds(), summary(late), failed.Load())
	return failed.Load()
}

// churn writes the same objects again and again, as fast as they are taken.
func churn(args []string) int64 {
	flags := flag.NewFlagSet("churn", flag.ExitOnError)
	objects := flags.Int("objects", 1000, "")
	writes := flags.Int("writes", 30000, "")
	size := flags.Int("bytes", 4000, "of each object")
	check(flags.Parse(args))
	const base = "/api/v1/namespaces/default/configmaps"
	config := func(i int) object {
		filler := make([]byte, *size/2)
		for at := range filler {
			filler[at] = byte(rand.Intn(256))
		}
		return object{"metadata": object{"name": fmt.Sprintf("churn-%04d", i)}, "data": object{"filler": fmt.Sprintf("%x", filler)}}
	}
	var failed int64
	if response, err := newClient().Do(request("GET", base+"/churn-0000", nil)); err == nil && response.StatusCode == 404 {
		failed = inParallel(*objects, func(c *http.Client, i int) bool {
			_, ok := do(c, "POST", base, config(i))
			return ok
		})
	}
	took := make([]time.Duration, *writes)
	start := time.Now()
	failed += inParallel(*writes, func(c *http.Client, i int) bool {
		before := time.Now()
		_, ok := do(c, "PUT", fmt.Sprintf("%s/churn-%04d", base, i%*objects), config(i%*objects))
		took[i] = time.Since(before)
		return ok
	})
	seconds := time.Since(start).Seconds()
	fmt.Printf("churn objects=%d writes=%d rate=%.0f/s %s errors=%d\n", *objects, *writes, float64(*writes)/seconds, summary(took), failed)
	return failed
}

func main() {
	flag.Parse()
	modes := map[string]func([]string) int64{"fill": fill, "list": list, "steady": steady, "watch": watch, "churn": churn}
	mode, ok := modes[flag.Arg(0)]
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: scale [FLAGS] fill|list|steady|watch|churn [FLAGS]")
		os.Exit(2)
	}
	if mode(flag.Args()[1:]) > 0 {
		os.Exit(1)
	}
}
