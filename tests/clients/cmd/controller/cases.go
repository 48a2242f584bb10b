package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kcube.test/clients/cmd/controller/api"
	"kcube.test/clients/internal/check"
)

func widget(name string, size int32, color string) *api.Widget {
	return &api.Widget{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: api.WidgetSpec{Size: size, Color: color}}
}

func (s *suite) get(ctx context.Context, name string) (*api.Widget, error) {
	w := widget(name, 0, "")
	return w, s.client.Get(ctx, client.ObjectKeyFromObject(w), w)
}

// ready waits until the controller has made what generation asks for.
func (s *suite) ready(ctx context.Context, name string, made int32) error {
	return check.Eventually(ctx, func() error {
		w, err := s.get(ctx, name)
		if err != nil {
			return err
		}
		var m corev1.ConfigMap
		if err := s.client.Get(ctx, client.ObjectKeyFromObject(w), &m); err != nil {
			return err
		}
		return check.All(check.Equal("made", w.Status.Made, made), check.Equal("observed generation", w.Status.ObservedGeneration, w.Generation),
			check.Equal("ready", meta.IsStatusConditionTrue(w.Status.Conditions, "Ready"), true), check.Equal("config map", m.Data["size"], fmt.Sprint(made)))
	})
}

func (s *suite) leads(ctx context.Context) error {
	select {
	case <-s.manager.Elected():
	case <-ctx.Done():
		return errors.New("not elected")
	}
	if !s.manager.GetCache().WaitForCacheSync(ctx) {
		return errors.New("caches not filled")
	}
	// The webhooks' server starts beside the caches.
	return check.Eventually(ctx, func() error { return s.manager.GetWebhookServer().StartedChecker()(nil) })
}

func (s *suite) makes(ctx context.Context) error {
	if err := s.client.Create(ctx, widget("one", 3, "")); err != nil {
		return err
	}
	if err := s.ready(ctx, "one", 3); err != nil {
		return err
	}
	w, err := s.get(ctx, "one")
	if err != nil {
		return err
	}
	if err := check.All(check.Equal("color", w.Spec.Color, "grey"), check.Equal("finalizers", fmt.Sprint(w.Finalizers), "["+finalizer+"]"), check.Equal("generation", w.Generation, 1)); err != nil {
		return err
	}
	return check.Eventually(ctx, func() error {
		var events eventsv1.EventList
		if err := s.client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "Made" && e.Regarding.Name == "one" && e.Note == "made one" {
				return nil
			}
		}
		return errors.New("no event")
	})
}

func (s *suite) refuses(ctx context.Context) error {
	err := s.client.Create(ctx, widget("wrong", 1, "plaid"))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `admission webhook "check.shop.example.com" denied the request: Widget.shop.example.com "wrong" is invalid: spec.color: Invalid value: "plaid": nobody makes that`) {
		return fmt.Errorf("from the webhook: %v", err)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || len(status.Status().Details.Causes) != 1 || status.Status().Details.Causes[0].Field != "spec.color" {
		return fmt.Errorf("without the cause: %#v", err)
	}
	err = s.client.Create(ctx, widget("wrong", -1, "red"))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.size in body should be greater than or equal to 0") {
		return fmt.Errorf("from the schema: %v", err)
	}
	return nil
}

func (s *suite) converts(ctx context.Context) error {
	old := &api.OldWidget{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "old"}, Spec: api.OldWidgetSpec{Replicas: 2}}
	if err := s.client.Create(ctx, old); err != nil {
		return err
	}
	// The webhooks are for v1 alone and heard of it all the same.
	if err := check.All(check.Equal("replicas", old.Spec.Replicas, 2), check.Equal("color", old.Spec.Color, "grey")); err != nil {
		return err
	}
	if err := s.ready(ctx, "old", 2); err != nil {
		return err
	}
	if err := s.client.Get(ctx, client.ObjectKeyFromObject(old), old); err != nil {
		return err
	}
	old.Spec.Replicas = 5
	if err := s.client.Update(ctx, old); err != nil {
		return err
	}
	if err := s.ready(ctx, "old", 5); err != nil {
		return err
	}
	var all api.OldWidgetList
	if err := s.client.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return err
	}
	return check.All(check.Equal("widgets in the old version", len(all.Items), 2), check.Equal("replicas of one", all.Items[1].Spec.Replicas, 3))
}

// warnings keeps what the server warns of.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (s *suite) follows(ctx context.Context) error {
	config := rest.CopyConfig(check.Config())
	heard := &warnings{}
	config.WarningHandlerWithContext = heard
	c, err := client.New(config, client.Options{Scheme: s.client.Scheme()})
	if err != nil {
		return err
	}
	err = check.Eventually(ctx, func() error {
		w, err := s.get(ctx, "one")
		if err != nil {
			return err
		}
		w.Spec.Size = 1
		return c.Update(ctx, w)
	})
	if err != nil {
		return err
	}
	return check.All(s.ready(ctx, "one", 1), check.Equal("warnings", strings.Join(heard.said, "; "), "shrinks from 3 to 1"))
}

func configuration(name, color string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": api.V1.String(), "kind": "Widget", "metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{"color": color}}}
}

func (s *suite) applies(ctx context.Context) error {
	apply := func(owner, color string, options ...client.ApplyOption) error {
		return s.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(configuration("applied", color)), append(options, client.FieldOwner(owner))...)
	}
	if err := check.All(apply("first", "red"), apply("first", "green"), s.ready(ctx, "applied", 0)); err != nil {
		return err
	}
	if err := apply("second", "blue"); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "first": .spec.color`) {
		return fmt.Errorf("no conflict: %v", err)
	}
	if err := apply("second", "blue", client.ForceOwnership); err != nil {
		return err
	}
	w, err := s.get(ctx, "applied")
	if err != nil {
		return err
	}
	owners := map[string]string{}
	for _, m := range w.ManagedFields {
		owners[m.Manager+"/"+m.Subresource] = string(m.Operation)
	}
	return check.All(check.Equal("color", w.Spec.Color, "blue"), check.Equal("the second", owners["second/"], "Apply"), check.Equal("the first", owners["first/"], ""), check.Equal("the controller", owners["controller/status"], "Update"))
}

func (s *suite) patches(ctx context.Context) error {
	if err := s.ready(ctx, "applied", 0); err != nil { // from here on the controller leaves it alone
		return err
	}
	w, err := s.get(ctx, "applied")
	if err != nil {
		return err
	}
	generation := w.Generation
	before := w.DeepCopyObject().(*api.Widget)
	w.Labels = map[string]string{"keep": "yes"}
	if err := s.client.Patch(ctx, w, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	stale := client.MergeFromWithOptions(before.DeepCopyObject().(*api.Widget), client.MergeFromWithOptimisticLock{})
	before.Labels = map[string]string{"keep": "no"}
	if err := s.client.Patch(ctx, before, stale); !apierrors.IsConflict(err) {
		return fmt.Errorf("no conflict: %v", err)
	}
	// What is not of the status is not changed there.
	w.Spec.Color, w.Status.Made = "white", 77
	if err := s.client.Status().Update(ctx, w); err != nil {
		return err
	}
	if err := check.All(check.Equal("color", w.Spec.Color, "blue"), check.Equal("generation", w.Generation, generation)); err != nil {
		return err
	}
	if err := s.client.Delete(ctx, w); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "applied is to be kept") {
		return fmt.Errorf("not kept: %v", err)
	}
	return s.client.Patch(ctx, w, client.RawPatch("application/json-patch+json", []byte(`[{"op":"remove","path":"/metadata/labels/keep"}]`)))
}

func (s *suite) indexes(ctx context.Context) error {
	return check.Eventually(ctx, func() error {
		var blue, grey api.WidgetList
		cached := s.manager.GetClient()
		if err := check.All(cached.List(ctx, &blue, client.MatchingFields{"spec.color": "blue"}), cached.List(ctx, &grey, client.MatchingFields{"spec.color": "grey"})); err != nil {
			return err
		}
		return check.All(check.Equal("blue", len(blue.Items), 1), check.Equal("grey", len(grey.Items), 2))
	})
}

func (s *suite) repairs(ctx context.Context) error {
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "one"}}
	if err := s.client.Get(ctx, client.ObjectKeyFromObject(owned), owned); err != nil {
		return err
	}
	first := owned.UID
	if err := s.client.Delete(ctx, owned); err != nil {
		return err
	}
	return check.Eventually(ctx, func() error {
		if err := s.client.Get(ctx, client.ObjectKeyFromObject(owned), owned); err != nil {
			return err
		}
		return check.Equal("made anew", owned.UID != first, true)
	})
}

func (s *suite) finalizes(ctx context.Context) error {
	if err := s.client.Delete(ctx, widget("one", 0, ""), client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
		return err
	}
	return check.Eventually(ctx, func() error {
		for _, gone := range []client.Object{widget("one", 0, ""), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "one"}}, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "one"}}} {
			if err := s.client.Get(ctx, client.ObjectKeyFromObject(gone), gone); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%T is there: %v", gone, err)
			}
		}
		return nil
	})
}

func (s *suite) removesAll(ctx context.Context) error {
	if err := s.client.DeleteAllOf(ctx, &api.Widget{}, client.InNamespace(namespace)); err != nil {
		return err
	}
	return check.Eventually(ctx, func() error {
		var all api.WidgetList
		if err := s.client.List(ctx, &all); err != nil {
			return err
		}
		return check.Equal("left", len(all.Items), 0)
	})
}
