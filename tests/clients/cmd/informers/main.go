// Program informers is what a controller without a framework does: shared informers, a work queue, leader election,
// events and apply configurations, in protobuf as Kubernetes' own controllers.
package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kcube.test/clients/internal/check"
	"kcube.test/clients/internal/wire"
)

type suite struct {
	config   *rest.Config
	client   kubernetes.Interface // in protobuf
	plain    kubernetes.Interface // in JSON
	requests wire.Requests
	log      *check.Log
}

const namespace = "informers"

func main() {
	s := &suite{log: check.CaptureLog(), config: check.Config()}
	s.requests.Watch(s.config)
	binary := rest.CopyConfig(s.config)
	binary.ContentType, binary.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	s.client, s.plain = kubernetes.NewForConfigOrDie(binary), kubernetes.NewForConfigOrDie(s.config)
	quiet := func(run func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error { return check.All(run(ctx), s.log.Complaints()) }
	}
	check.Run([]check.Case{
		{Name: "a namespace is made", Run: quiet(s.setUp)},
		{Name: "discovery and a REST mapper know every kind", Run: quiet(s.discovers)},
		{Name: "informers fill by streaming lists alone", Run: quiet(s.streams)},
		{Name: "informers of any kind and of metadata alone", Run: quiet(s.generic)},
		{Name: "a work queue follows changes to the end", Run: quiet(s.follows)},
		{Name: "a pager reads a list in pages of one revision", Run: quiet(s.pages)},
		{Name: "apply configurations own what they set", Run: quiet(s.applies)},
		{Name: "retry on conflict comes to an end", Run: quiet(s.retries)},
		{Name: "events are recorded and counted", Run: quiet(s.records)},
		{Name: "the leader hands over when it is told to stop", Run: quiet(s.handsOver)},
		{Name: "informers catch up after the connection was lost", Run: s.catchesUp},
		{Name: "a leader that is cut off is replaced", Run: s.replaces},
		{Name: "a watch from a forgotten revision is told so", Run: s.expires},
	})
}

func (s *suite) setUp(ctx context.Context) error {
	_, err := s.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for i := range 300 {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m%03d", i), Labels: map[string]string{"half": fmt.Sprint(i % 2)}}, Data: map[string]string{"i": fmt.Sprint(i)}}
		if _, err := s.client.CoreV1().ConfigMaps(namespace).Create(ctx, m, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func isList(u *url.URL, resource string) bool {
	return strings.HasSuffix(u.Path, "/"+resource) && u.Query().Get("watch") == ""
}

func isStream(u *url.URL, resource string) bool {
	return strings.HasSuffix(u.Path, "/"+resource) && u.Query().Get("sendInitialEvents") == "true"
}
