package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	toolsevents "k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"

	"kcube.test/clients/internal/check"
)

func mapperOf(config *rest.Config) (meta.RESTMapper, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	version, err := client.ServerVersion()
	if err != nil {
		return nil, err
	}
	if version.Major != "1" {
		return nil, fmt.Errorf("version %v", version)
	}
	if _, err := client.OpenAPISchema(); err != nil {
		return nil, err
	}
	if _, _, err := client.ServerGroupsAndResources(); err != nil {
		return nil, err
	}
	return restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client)), nil
}

func (s *suite) applies(ctx context.Context) error {
	maps := s.client.CoreV1().ConfigMaps(namespace)
	apply := func(manager string, force bool, data map[string]string) error {
		_, err := maps.Apply(ctx, applycore.ConfigMap("applied", namespace).WithData(data), metav1.ApplyOptions{FieldManager: manager, Force: force})
		return err
	}
	if err := check.All(apply("one", false, map[string]string{"a": "1", "b": "1"}), apply("two", false, map[string]string{"c": "2"})); err != nil {
		return err
	}
	if err := apply("two", false, map[string]string{"a": "2"}); !apierrors.IsConflict(err) {
		return fmt.Errorf("no conflict: %v", err)
	}
	if err := check.All(apply("two", true, map[string]string{"a": "2"}), apply("one", false, map[string]string{})); err != nil {
		return err
	}
	got, err := maps.Get(ctx, "applied", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := check.Equal("data", fmt.Sprint(got.Data), "map[a:2]"); err != nil {
		return err
	}
	own, err := applycore.ExtractConfigMap(got, "two")
	if err != nil {
		return err
	}
	return check.Equal("extracted", fmt.Sprint(own.Data), "map[a:2]")
}

func (s *suite) retries(ctx context.Context) error {
	maps := s.client.CoreV1().ConfigMaps(namespace)
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "counter"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	const writers = 8
	done := make(chan error, writers)
	for i := range writers {
		go func() {
			done <- retry.OnError(retry.DefaultBackoff, func(error) bool { return true }, func() error {
				m, err := maps.Get(ctx, "counter", metav1.GetOptions{})
				if err != nil {
					return err
				}
				m.Data = mergedWith(m.Data, fmt.Sprint(i))
				_, err = maps.Update(ctx, m, metav1.UpdateOptions{})
				if err != nil && !apierrors.IsConflict(err) {
					return fmt.Errorf("not a conflict: %w", err)
				}
				return err
			})
		}()
	}
	failures := 0
	for range writers {
		if err := <-done; apierrors.IsConflict(err) {
			failures++ // more tries than it had
		} else if err != nil {
			return err
		}
	}
	m, err := maps.Get(ctx, "counter", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return check.Equal("writes", len(m.Data), writers-failures)
}

func mergedWith(data map[string]string, key string) map[string]string {
	if data == nil {
		data = map[string]string{}
	}
	data[key] = "x"
	return data
}

// Both kinds of events: of the old recorder, which counts, and of the new, which makes series.
func (s *suite) records(ctx context.Context) error {
	object, err := s.client.CoreV1().ConfigMaps(namespace).Get(ctx, "applied", metav1.GetOptions{})
	if err != nil {
		return err
	}
	object.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
	old := record.NewBroadcaster(record.WithContext(ctx))
	defer old.Shutdown()
	old.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: s.client.CoreV1().Events("")})
	oldRecorder := old.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "informers"})
	recent := toolsevents.NewBroadcaster(&toolsevents.EventSinkImpl{Interface: s.client.EventsV1()})
	defer recent.Shutdown()
	if err := recent.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	recorder := recent.NewRecorder(scheme.Scheme, "example.com/informers")
	for range 3 {
		oldRecorder.Event(object, corev1.EventTypeNormal, "Old", "seen")
		recorder.Eventf(object, nil, corev1.EventTypeNormal, "New", "Looking", "seen")
		time.Sleep(50 * time.Millisecond)
	}
	return check.Eventually(ctx, func() error {
		var seen corev1.EventList
		list, err := s.client.CoreV1().Events(namespace).Search(scheme.Scheme, runtime.Object(object))
		if err != nil {
			return err
		}
		seen = *list
		var count, series int32
		for _, e := range seen.Items {
			if e.Reason == "Old" {
				count = e.Count
			}
			if e.Reason == "New" && e.Series != nil {
				series = e.Series.Count
			}
		}
		return check.All(check.Equal("count", count, 3), check.Equal("series of at least two", series >= 2, true))
	})
}
