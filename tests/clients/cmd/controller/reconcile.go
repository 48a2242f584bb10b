package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"kcube.test/clients/cmd/controller/api"
)

// maker makes a config map for each widget, and a secret that nobody but its finalizer removes.
type maker struct {
	client   client.Client
	recorder events.EventRecorder
}

// Reconcile is the usual: finalizer, what is owned, status.
func (m *maker) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var w api.Widget
	if err := m.client.Get(ctx, request.NamespacedName, &w); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: w.Name}}
	if !w.DeletionTimestamp.IsZero() {
		if err := client.IgnoreNotFound(m.client.Delete(ctx, secret)); err != nil {
			return ctrl.Result{}, err
		}
		if controllerutil.RemoveFinalizer(&w, finalizer) {
			return ctrl.Result{}, client.IgnoreNotFound(ignoreConflict(m.client.Update(ctx, &w)))
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(&w, finalizer) {
		return ctrl.Result{}, ignoreConflict(m.client.Update(ctx, &w))
	}
	if _, err := controllerutil.CreateOrUpdate(ctx, m.client, secret, func() error { secret.StringData = map[string]string{"size": fmt.Sprint(w.Spec.Size)}; return nil }); err != nil {
		return ctrl.Result{}, ignoreConflict(err)
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: w.Name}}
	result, err := controllerutil.CreateOrUpdate(ctx, m.client, owned, func() error {
		owned.Data = map[string]string{"size": fmt.Sprint(w.Spec.Size)}
		return controllerutil.SetControllerReference(&w, owned, m.client.Scheme())
	})
	if err != nil {
		return ctrl.Result{}, ignoreConflict(err)
	}
	if result == controllerutil.OperationResultCreated {
		m.recorder.Eventf(&w, owned, corev1.EventTypeNormal, "Made", "Making", "made %s", owned.Name)
	}
	before := w.DeepCopyObject().(*api.Widget)
	w.Status.ObservedGeneration, w.Status.Made = w.Generation, w.Spec.Size
	meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Made", ObservedGeneration: w.Generation})
	return ctrl.Result{}, client.IgnoreNotFound(m.client.Status().Patch(ctx, &w, client.MergeFrom(before)))
}

// The cache was behind: the change that it has not seen comes as an event.
func ignoreConflict(err error) error {
	if err == nil || isConflict(err) {
		return nil
	}
	return err
}

// rules are the webhooks.
type rules struct{}

func (rules) Default(_ context.Context, w *api.Widget) error {
	if w.Spec.Color == "" {
		w.Spec.Color = "grey"
	}
	return nil
}

func (rules) ValidateCreate(_ context.Context, w *api.Widget) (admission.Warnings, error) {
	if w.Spec.Color == "plaid" {
		return nil, invalidColor(w)
	}
	return nil, nil
}

func (r rules) ValidateUpdate(ctx context.Context, old, w *api.Widget) (admission.Warnings, error) {
	var warnings admission.Warnings
	if old.Spec.Size > w.Spec.Size {
		warnings = append(warnings, fmt.Sprintf("shrinks from %d to %d", old.Spec.Size, w.Spec.Size))
	}
	_, err := r.ValidateCreate(ctx, w)
	return warnings, err
}

func (rules) ValidateDelete(_ context.Context, w *api.Widget) (admission.Warnings, error) {
	if w.Labels["keep"] != "" {
		return nil, fmt.Errorf("%s is to be kept", w.Name)
	}
	return nil, nil
}
