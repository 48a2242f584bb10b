// Package check runs the cases of a client program in their order and says how each went.
package check

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Case is one behaviour that a user of the client relies on.
type Case struct {
	Name string
	Run  func(ctx context.Context) error
}

// Run prints "ok NAME" or "FAIL NAME: why" for each, and exits with 1 when one failed.
func Run(cases []Case) {
	failed := false
	for _, c := range cases {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := c.Run(ctx)
		cancel()
		if err != nil {
			failed = true
			fmt.Printf("FAIL %s: %v\n", c.Name, err)
			continue
		}
		fmt.Printf("ok   %s\n", c.Name)
	}
	if failed {
		os.Exit(1)
	}
}

// Config is how to reach the cluster of $KUBECONFIG, without a limit of the client's own.
func Config() *rest.Config {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Println("FAIL setup:", err)
		os.Exit(1)
	}
	config.QPS, config.Burst = -1, -1
	return config
}

// Equal says what differs.
func Equal[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s: got %v, want %v", what, got, want)
}

// All is the first of the errors.
func All(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Eventually waits until `holds` returns nil, or returns its last answer.
func Eventually(ctx context.Context, holds func() error) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := holds()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Log keeps what the client library logs.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// CaptureLog makes klog write here instead of to standard error.
func CaptureLog() *Log {
	log := &Log{}
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	_ = flags.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL", "-one_output=true"})
	klog.SetOutput(log)
	return log
}

var bad = regexp.MustCompile(`^[WEF]\d{4} `)

// Complaints are the lines that are warnings or worse, since the last call.
func (l *Log) Complaints() error {
	klog.Flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range strings.Split(l.text.String(), "\n") {
		if bad.MatchString(line) {
			found = append(found, line)
		}
	}
	l.text.Reset()
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("the client logged:\n%s", strings.Join(found, "\n"))
}
