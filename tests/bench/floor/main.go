// A server with nothing behind it: the answers that apibench asks for, made beforehand, over Go's net/http. What it reaches
// is what the load program itself can take on a machine: no API server shows more than this in LIST and fan-out.
// usage: floor ADDRESS OBJECTS BYTES
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// watchers are told of every write.
type watchers struct {
	sync.Mutex
	all []chan []byte
}

func (w *watchers) tell(line []byte) {
	w.Lock()
	defer w.Unlock()
	for _, one := range w.all {
		one <- line
	}
}

func (w *watchers) serve(out http.ResponseWriter, request *http.Request) {
	mine := make(chan []byte, 1024)
	w.Lock()
	w.all = append(w.all, mine)
	w.Unlock()
	out.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(out)
	for flush.Flush() == nil {
		select {
		case line := <-mine:
			out.Write(line)
		case <-request.Context().Done():
			return
		}
	}
}

// list is as long as the list of that many ConfigMaps with their managed fields.
func list(objects, size int) []byte {
	item := `{"metadata":{"name":"cm-000000","namespace":"apibench","uid":"01234567-89ab-cdef-0123-456789abcdef","resourceVersion":"100000",` +
		`"creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app":"bench","shard":"s0"},"managedFields":[{"manager":"Go-http-client",` +
		`"operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:gen":{},` +
		`"f:payload":{}},"f:metadata":{"f:labels":{".":{},"f:app":{},"f:shard":{}}}}}]},"data":{"gen":"1","payload":"` + strings.Repeat("x", size) + `"}}`
	return []byte(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[` +
		strings.TrimSuffix(strings.Repeat(item+",", objects), ",") + "]}\n")
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: floor ADDRESS OBJECTS BYTES")
	}
	objects, _ := strconv.Atoi(os.Args[2])
	size, _ := strconv.Atoi(os.Args[3])
	all := list(objects, size)
	var watching watchers
	handler := func(out http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		out.Header().Set("Content-Type", "application/json")
		switch {
		case request.Method == http.MethodPost:
			out.WriteHeader(http.StatusCreated)
			out.Write(body)
		case request.Method == http.MethodPut:
			watching.tell([]byte(fmt.Sprintf("{\"type\":\"MODIFIED\",\"object\":%s}\n", body)))
			out.Write(body)
		case request.URL.Query().Has("watch"):
			watching.serve(out, request)
		case strings.HasSuffix(request.URL.Path, "/configmaps") && !request.URL.Query().Has("limit"):
			out.Header().Set("Content-Length", strconv.Itoa(len(all)))
			out.Write(all)
		default:
			out.Write([]byte(`{"metadata":{"resourceVersion":"1"},"data":{"payload":"` + strings.Repeat("x", size) + `"}}`))
		}
	}
	server := &http.Server{
		Addr:         os.Args[1],
		Handler:      http.HandlerFunc(handler),
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{certificate()}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1, as kcube
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
