package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"kcube.test/clients/internal/check"
	"kcube.test/clients/internal/wire"
)

// Everything that a controller manager watches, filled by one request each.
func (s *suite) streams(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(s.client, time.Minute)
	watched := map[string]cache.SharedIndexInformer{
		"configmaps":      factory.Core().V1().ConfigMaps().Informer(),
		"secrets":         factory.Core().V1().Secrets().Informer(),
		"pods":            factory.Core().V1().Pods().Informer(),
		"nodes":           factory.Core().V1().Nodes().Informer(),
		"namespaces":      factory.Core().V1().Namespaces().Informer(),
		"deployments":     factory.Apps().V1().Deployments().Informer(),
		"jobs":            factory.Batch().V1().Jobs().Informer(),
		"ingresses":       factory.Networking().V1().Ingresses().Informer(),
		"leases":          factory.Coordination().V1().Leases().Informer(),
		"clusterroles":    factory.Rbac().V1().ClusterRoles().Informer(),
		"endpointslices":  factory.Discovery().V1().EndpointSlices().Informer(),
		"storageclasses":  factory.Storage().V1().StorageClasses().Informer(),
		"priorityclasses": factory.Scheduling().V1().PriorityClasses().Informer(),
	}
	factory.Start(ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("%v was not filled", kind)
		}
	}
	for resource := range watched {
		lists := s.requests.Count(func(u *url.URL) bool { return isList(u, resource) && u.Path == watchedPath(resource) })
		streams := s.requests.Count(func(u *url.URL) bool { return isStream(u, resource) })
		if lists != 0 || streams == 0 {
			return fmt.Errorf("%s: %d lists and %d streaming lists", resource, lists, streams)
		}
	}
	even, err := factory.Core().V1().ConfigMaps().Lister().ConfigMaps(namespace).List(labels.Set{"half": "0"}.AsSelector())
	if err != nil {
		return err
	}
	return check.All(check.Equal("even config maps", len(even), 150),
		check.Equal("rows by namespace", len(must(watched["configmaps"].GetIndexer().ByIndex(cache.NamespaceIndex, namespace))), 301)) // with kube-root-ca.crt
}

// Of a list in all namespaces.
func watchedPath(resource string) string {
	switch resource {
	case "deployments":
		return "/apis/apps/v1/deployments"
	case "jobs":
		return "/apis/batch/v1/jobs"
	default:
		return "/api/v1/" + resource
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func (s *suite) generic(ctx context.Context) error {
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	byName := dynamicinformer.NewFilteredDynamicSharedInformerFactory(must(dynamic.NewForConfig(s.config)), 0, namespace, nil)
	whole := byName.ForResource(configMaps)
	whole.Informer()
	headers := metadatainformer.NewFilteredSharedInformerFactory(must(metadata.NewForConfig(s.config)), 0, namespace, func(o *metav1.ListOptions) { o.LabelSelector = "half=1" })
	part := headers.ForResource(configMaps)
	part.Informer()
	byName.Start(ctx.Done())
	headers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), whole.Informer().HasSynced, part.Informer().HasSynced) {
		return errors.New("not filled")
	}
	object, err := whole.Lister().ByNamespace(namespace).Get("m007")
	if err != nil {
		return err
	}
	value, _, _ := unstructured.NestedString(object.(*unstructured.Unstructured).Object, "data", "i")
	odd, err := part.Lister().List(labels.Everything())
	if err != nil {
		return err
	}
	m := odd[0].(*metav1.PartialObjectMetadata)
	return check.All(check.Equal("data", value, "7"), check.Equal("odd", len(odd), 150), check.Equal("label", m.Labels["half"], "1"))
}

// Three workers note what they see of each object last; it has to be what is true in the end.
func (s *suite) follows(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithNamespace(namespace))
	maps := factory.Core().V1().ConfigMaps()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	defer queue.ShutDown()
	enqueue := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			queue.Add(key)
		}
	}
	var added, updated, deleted, failed atomic.Int64
	registration, err := maps.Informer().AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(o any, initial bool) { added.Add(1); enqueue(o) },
		UpdateFunc: func(_, o any) { updated.Add(1); enqueue(o) },
		DeleteFunc: func(o any) { deleted.Add(1); enqueue(o) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return errors.New("not filled")
	}
	for range 3 {
		go func() {
			for {
				key, quit := queue.Get()
				if quit {
					return
				}
				// The first try of every key fails, so that each comes back with a delay.
				if queue.NumRequeues(key) == 0 {
					failed.Add(1)
					queue.AddRateLimited(key)
				} else {
					queue.Forget(key)
				}
				queue.Done(key)
			}
		}()
	}
	for i := range 100 {
		name := fmt.Sprintf("m%03d", i)
		switch i % 2 {
		case 0:
			err = s.client.CoreV1().ConfigMaps(namespace).Delete(ctx, name, metav1.DeleteOptions{})
		case 1:
			var m *corev1.ConfigMap
			if m, err = maps.Lister().ConfigMaps(namespace).Get(name); err == nil {
				m = m.DeepCopy()
				m.Data["i"] = "changed"
				_, err = s.client.CoreV1().ConfigMaps(namespace).Update(ctx, m, metav1.UpdateOptions{})
			}
		}
		if err != nil {
			return err
		}
	}
	return check.Eventually(ctx, func() error {
		changed := 0
		for _, object := range maps.Informer().GetStore().List() {
			if object.(*corev1.ConfigMap).Data["i"] == "changed" {
				changed++
			}
		}
		return check.All(check.Equal("additions", added.Load(), 301), check.Equal("deletions", deleted.Load(), 50),
			check.Equal("changed", changed, 50), check.Equal("left in the queue", queue.Len(), 0))
	})
}

// What happens while nobody can hear is known afterwards, and as what it was.
func (s *suite) catchesUp(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cable, by, err := wire.Lay(s.config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(kubernetes.NewForConfigOrDie(by), 0, informers.WithNamespace(namespace))
	secrets := factory.Core().V1().Secrets()
	for i := range 20 {
		if _, err := s.client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%d", i)}}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	var added, deleted, watchErrors atomic.Int64
	if err := secrets.Informer().SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) { watchErrors.Add(1) }); err != nil {
		return err
	}
	_, err = secrets.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { added.Add(1) }, DeleteFunc: func(any) { deleted.Add(1) }})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	cable.Cut()
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		if err := s.client.CoreV1().Secrets(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		if i%2 == 0 {
			continue
		}
		if _, err := s.client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name + "-new"}}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	cable.Mend()
	return check.Eventually(ctx, func() error {
		return check.All(check.Equal("secrets", len(secrets.Informer().GetStore().List()), 10), check.Equal("additions", added.Load(), 30), check.Equal("deletions", deleted.Load(), 20))
	})
}

func (s *suite) pages(ctx context.Context) error {
	options := metav1.ListOptions{Limit: 60}
	seen, revision := 0, ""
	for page := 0; ; page++ {
		list, err := s.client.CoreV1().ConfigMaps(namespace).List(ctx, options)
		if err != nil {
			return err
		}
		if page == 0 {
			revision = list.ResourceVersion
			// Not part of what is being read.
			if _, err := s.client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "zz-later"}}, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		seen += len(list.Items)
		if err := check.Equal("revision of a page", list.ResourceVersion, revision); err != nil {
			return err
		}
		if options.Continue = list.Continue; options.Continue == "" {
			break
		}
	}
	return check.Equal("in pages", seen, 251)
}

func (s *suite) expires(ctx context.Context) error {
	w, err := s.client.CoreV1().ConfigMaps(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: "1"})
	if err == nil {
		defer w.Stop()
		event := <-w.ResultChan()
		if event.Type != watch.Error {
			return nil // everything since is known still
		}
		err = apierrors.FromObject(event.Object)
	}
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return nil
	}
	return fmt.Errorf("neither events nor 410: %v", err)
}

func (s *suite) discovers(ctx context.Context) error {
	mapper, err := mapperOf(s.config)
	if err != nil {
		return err
	}
	for kind, resource := range map[schema.GroupKind]string{
		{Kind: "Pod"}: "pods", {Group: "apps", Kind: "Deployment"}: "deployments", {Group: "gateway.example", Kind: "None"}: "",
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: "customresourcedefinitions", {Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}: "horizontalpodautoscalers",
	} {
		mapping, err := mapper.RESTMapping(kind)
		if resource == "" {
			if !meta.IsNoMatchError(err) {
				return fmt.Errorf("%v: %v", kind, err)
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := check.Equal("resource", mapping.Resource.Resource, resource); err != nil {
			return err
		}
	}
	return nil
}
