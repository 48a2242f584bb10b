// Package api is a custom resource in two versions: v1 is stored, v1alpha1 has its size under another name.
package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/conversion"
)

// Group of the resource.
const Group = "shop.example.com"

// Its versions.
var (
	V1       = schema.GroupVersion{Group: Group, Version: "v1"}
	V1Alpha1 = schema.GroupVersion{Group: Group, Version: "v1alpha1"}
)

// Widget is a widget as it is stored.
type Widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WidgetSpec   `json:"spec,omitempty"`
	Status            WidgetStatus `json:"status,omitempty"`
}

// WidgetSpec is what is wanted.
type WidgetSpec struct {
	Size  int32  `json:"size,omitempty"`
	Color string `json:"color,omitempty"`
}

// WidgetStatus is what there is.
type WidgetStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Made               int32              `json:"made,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// WidgetList is a list of them.
type WidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Widget `json:"items"`
}

// Hub marks the version that others are converted to.
func (*Widget) Hub() {}

// DeepCopyObject is for the scheme.
func (w *Widget) DeepCopyObject() runtime.Object {
	out := *w
	w.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.Conditions = append([]metav1.Condition(nil), w.Status.Conditions...)
	return &out
}

// DeepCopyObject is for the scheme.
func (l *WidgetList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]Widget, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*Widget)
	}
	return &out
}

// OldWidget is a widget of v1alpha1.
type OldWidget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              OldWidgetSpec `json:"spec,omitempty"`
}

// OldWidgetSpec has its size as replicas.
type OldWidgetSpec struct {
	Replicas int32  `json:"replicas,omitempty"`
	Color    string `json:"color,omitempty"`
}

// OldWidgetList is a list of them.
type OldWidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OldWidget `json:"items"`
}

// DeepCopyObject is for the scheme.
func (w *OldWidget) DeepCopyObject() runtime.Object {
	out := *w
	w.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// DeepCopyObject is for the scheme.
func (l *OldWidgetList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]OldWidget, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*OldWidget)
	}
	return &out
}

// ConvertTo makes the stored version of it.
func (w *OldWidget) ConvertTo(hub conversion.Hub) error {
	to := hub.(*Widget)
	to.ObjectMeta = w.ObjectMeta
	to.Spec = WidgetSpec{Size: w.Spec.Replicas, Color: w.Spec.Color}
	return nil
}

// ConvertFrom makes it of the stored version.
func (w *OldWidget) ConvertFrom(hub conversion.Hub) error {
	from := hub.(*Widget)
	w.ObjectMeta = from.ObjectMeta
	w.Spec = OldWidgetSpec{Replicas: from.Spec.Size, Color: from.Spec.Color}
	return nil
}

// AddToScheme makes both versions known.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(V1, &Widget{}, &WidgetList{})
	scheme.AddKnownTypeWithName(V1Alpha1.WithKind("Widget"), &OldWidget{})
	scheme.AddKnownTypeWithName(V1Alpha1.WithKind("WidgetList"), &OldWidgetList{})
	metav1.AddToGroupVersion(scheme, V1)
	metav1.AddToGroupVersion(scheme, V1Alpha1)
	return nil
}
