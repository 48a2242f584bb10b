package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kcube.test/clients/cmd/controller/api"
	"kcube.test/clients/internal/check"
)

const hookPort = 9443

// certificate is one that signs itself, and the folder where its files are.
type certificate struct {
	dir string
	pem []byte
}

func newCertificate() (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "webhooks"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return certificate{}, err
	}
	dir, err := os.MkdirTemp("", "webhooks")
	if err != nil {
		return certificate{}, err
	}
	c := certificate{dir, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	return c, check.All(os.WriteFile(filepath.Join(dir, "tls.crt"), c.pem, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

func (s *suite) url(path string) *string {
	return ptr.To(fmt.Sprintf("https://127.0.0.1:%d%s", hookPort, path))
}

// configure creates the definition and the webhooks' configurations, and waits until widgets are served.
func (s *suite) configure(ctx context.Context) error {
	hook := admissionv1.WebhookClientConfig{CABundle: s.hook.pem}
	rulesFor := func(operations ...admissionv1.OperationType) []admissionv1.RuleWithOperations {
		return []admissionv1.RuleWithOperations{{Operations: operations, Rule: admissionv1.Rule{APIGroups: []string{api.Group}, APIVersions: []string{"v1"}, Resources: []string{"widgets"}}}}
	}
	mutating, validating := hook, hook
	mutating.URL, validating.URL = s.url("/mutate-shop-example-com-v1-widget"), s.url("/validate-shop-example-com-v1-widget")
	none := ptr.To(admissionv1.SideEffectClassNone)
	definition := s.definition()
	err := check.All(
		s.client.Create(ctx, definition),
		s.client.Create(ctx, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Webhooks: []admissionv1.MutatingWebhook{{
			Name: "default." + api.Group, ClientConfig: mutating, Rules: rulesFor("CREATE", "UPDATE"), SideEffects: none, AdmissionReviewVersions: []string{"v1"}}}}),
		s.client.Create(ctx, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "check." + api.Group, ClientConfig: validating, Rules: rulesFor("CREATE", "UPDATE", "DELETE"), SideEffects: none, AdmissionReviewVersions: []string{"v1"}}}}))
	if err != nil {
		return err
	}
	return check.Eventually(ctx, func() error {
		if err := s.client.Get(ctx, client.ObjectKeyFromObject(definition), definition); err != nil {
			return err
		}
		for _, c := range definition.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("not established: %v", definition.Status.Conditions)
	})
}

func (s *suite) definition() *apiextensionsv1.CustomResourceDefinition {
	number, text := apiextensionsv1.JSONSchemaProps{Type: "integer", Format: "int32", Minimum: ptr.To(0.0)}, apiextensionsv1.JSONSchemaProps{Type: "string"}
	version := func(name, size string, storage bool) apiextensionsv1.CustomResourceDefinitionVersion {
		properties := map[string]apiextensionsv1.JSONSchemaProps{
			"spec": {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{size: number, "color": text}},
		}
		v := apiextensionsv1.CustomResourceDefinitionVersion{Name: name, Served: true, Storage: storage,
			Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}},
			Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}}}
		if storage {
			condition := apiextensionsv1.JSONSchemaProps{Type: "object", Required: []string{"type", "status"}, Properties: map[string]apiextensionsv1.JSONSchemaProps{
				"type": text, "status": text, "reason": text, "message": text, "lastTransitionTime": {Type: "string", Format: "date-time"}, "observedGeneration": {Type: "integer", Format: "int64"}}}
			properties["status"] = apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
				"observedGeneration": {Type: "integer", Format: "int64"}, "made": number,
				"conditions": {Type: "array", XListType: ptr.To("map"), XListMapKeys: []string{"type"}, Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &condition}}}}
		}
		return v
	}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets." + api.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: api.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names:    apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version("v1", "size", true), version("v1alpha1", "replicas", false)},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
				ConversionReviewVersions: []string{"v1"}, ClientConfig: &apiextensionsv1.WebhookClientConfig{URL: s.url("/convert"), CABundle: s.hook.pem}}},
		},
	}
}

func isConflict(err error) bool { return apierrors.IsConflict(err) }

func invalidColor(w *api.Widget) error {
	return apierrors.NewInvalid(api.V1.WithKind("Widget").GroupKind(), w.Name, field.ErrorList{field.Invalid(field.NewPath("spec", "color"), w.Spec.Color, "nobody makes that")})
}
