// Claims and volumes: what fits what. Source: the Kubernetes docs on persistent volumes. Internal to the room.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/client/informer.h"

namespace kcube::controllers {

inline const client::GroupVersionResource kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};
inline const client::GroupVersionResource kVolumeAttributesClasses{"storage.k8s.io", "v1", "volumeattributesclasses"};
inline constexpr const char *kBindCompleted = "pv.kubernetes.io/bind-completed", *kBoundByController = "pv.kubernetes.io/bound-by-controller",
                            *kSelectedNode = "volume.kubernetes.io/selected-node", *kProvisionedBy = "pv.kubernetes.io/provisioned-by",
                            *kStorageProvisioner = "volume.kubernetes.io/storage-provisioner",
                            *kBetaStorageProvisioner = "volume.beta.kubernetes.io/storage-provisioner",
                            *kDefaultClass = "storageclass.kubernetes.io/is-default-class", *kLocalPath = "kcube.io/local-path";

// "" is the wish for a volume without a class. `*named` is false when the claim says nothing at all.
std::string class_of(const json::value& object, bool* named = nullptr);
bool waits_for_consumer(const json::value& storage_class);
// spec.claimRef names this claim (by uid where it has one).
bool is_bound_to(const json::value& volume, const api::Object& claim);
bool has_claim_ref(const json::value& volume);
// Everything but the capacity's size is right: class, modes, selector, node.
bool fits(const api::Object& volume, const api::Object& claim, const api::Object* node);
// The smallest volume that is free and fits, or the one reserved for this claim; null when there is none.
api::ObjectPtr find_volume(const std::vector<api::ObjectPtr>& volumes, const api::Object& claim, const api::Object* node);
json::object claim_reference(const api::Object& claim);

}  // namespace kcube::controllers
