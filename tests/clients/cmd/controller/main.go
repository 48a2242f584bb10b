// Program controller is a controller-runtime manager with a custom resource of its own in two versions, a controller with
// a finalizer, and webhooks that convert, default and refuse; then a user of all that.
package main

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"kcube.test/clients/cmd/controller/api"
	"kcube.test/clients/internal/check"
)

const (
	namespace = "default"
	finalizer = api.Group + "/made"
)

type suite struct {
	client  client.Client // asks the server each time
	manager ctrl.Manager
	made    *maker
	log     *check.Log
	hook    certificate
}

func main() {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	utilruntime.Must(api.AddToScheme(scheme))
	s := &suite{log: check.CaptureLog(), made: &maker{}}
	ctrl.SetLogger(klog.Background())
	ctx, stop := context.WithCancel(context.Background())
	if err := s.start(ctx, scheme); err != nil {
		fmt.Println("FAIL setup:", err)
		os.Exit(1)
	}
	quiet := func(run func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error { return check.All(run(ctx), s.log.Complaints()) }
	}
	check.Run([]check.Case{
		{Name: "the manager leads and its caches fill", Run: quiet(s.leads)},
		{Name: "a widget is defaulted, made and reported", Run: quiet(s.makes)},
		{Name: "a wrong widget is refused with the field", Run: quiet(s.refuses)},
		{Name: "an old widget becomes a new one and back", Run: quiet(s.converts)},
		{Name: "a change is followed and warned of", Run: quiet(s.follows)},
		{Name: "server-side apply through the client", Run: quiet(s.applies)},
		{Name: "patches, of the status too", Run: quiet(s.patches)},
		{Name: "the cache finds by an index of its own", Run: quiet(s.indexes)},
		{Name: "what it owned is made again when it goes", Run: quiet(s.repairs)},
		{Name: "the finalizer holds a widget until its things are gone", Run: quiet(s.finalizes)},
		{Name: "all of a kind are removed", Run: quiet(s.removesAll)},
	})
	stop()
}

func (s *suite) start(ctx context.Context, scheme *runtime.Scheme) (err error) {
	if s.client, err = client.New(check.Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if s.hook, err = newCertificate(); err != nil {
		return err
	}
	if err := s.configure(ctx); err != nil {
		return err
	}
	s.manager, err = ctrl.NewManager(check.Config(), ctrl.Options{
		Scheme: scheme, LeaderElection: true, LeaderElectionID: "widgets." + api.Group, LeaderElectionNamespace: namespace, LeaderElectionReleaseOnCancel: true,
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		WebhookServer:          webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: hookPort, CertDir: s.hook.dir}),
	})
	if err != nil {
		return err
	}
	s.made.client, s.made.recorder = s.manager.GetClient(), s.manager.GetEventRecorder("widgets")
	err = s.manager.GetFieldIndexer().IndexField(ctx, &api.Widget{}, "spec.color", func(o client.Object) []string { return []string{o.(*api.Widget).Spec.Color} })
	if err != nil {
		return err
	}
	if err := ctrl.NewControllerManagedBy(s.manager).For(&api.Widget{}).Owns(&corev1.ConfigMap{}).Complete(s.made); err != nil {
		return err
	}
	if err := ctrl.NewWebhookManagedBy(s.manager, &api.Widget{}).WithDefaulter(rules{}).WithValidator(rules{}).Complete(); err != nil {
		return err
	}
	go func() {
		if err := s.manager.Start(ctx); err != nil {
			fmt.Println("FAIL the manager ended:", err)
			os.Exit(1)
		}
	}()
	return nil
}
